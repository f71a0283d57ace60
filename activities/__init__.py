"""Every side effect, a class per capability. What goes in and out is in `activities.contracts`."""
