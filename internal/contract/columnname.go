package contract

// ColumnName is the name that a column for the values at a path gets, if nothing stands in its way.
func ColumnName(path Path) string { return plainName(path) }
