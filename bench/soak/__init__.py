"""The soak run: mixed and hostile load, for a long time. No answer may be lost or mixed, and nothing may leak."""
