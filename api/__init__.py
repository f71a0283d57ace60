"""REST: a router, schemas and a service a resource. No business rules; those are in `core`."""
