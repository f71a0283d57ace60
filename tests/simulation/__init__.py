"""A simulation of everything that Penstock speaks to, in virtual time and on one event loop: `docs/reliability.md`."""
