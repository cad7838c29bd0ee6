// Package config reads pipeline files: strict YAML in which everything has a good default.
//
// A file is refused as a whole, with all of its problems at once, each with file, line and column
// (see Problems). Nothing is guessed: an unknown key, a duplicate key, an anchor, a size without a
// unit that needs one and a variable that is not set are all problems. A word that is planned but
// not built is refused as "not available in this version", never accepted and ignored.
package config
