//! TOML as written → validated plan; all errors at once.
