"""Reloads under load: routes, endpoints, modules and listeners change all the time, and nobody may notice."""
