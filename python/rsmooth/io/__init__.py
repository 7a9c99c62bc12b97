"""Files: counts and certificates, of this package and of the field."""
