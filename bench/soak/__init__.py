"""The soak run: mixed and hostile load for a long time, in which no answer may be lost or mixed, and nothing may leak."""
