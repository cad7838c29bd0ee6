package clickhouse

import "strings"

// pushingToView is how the server words an exception of a materialized view; the view's name follows.
const pushingToView = "while pushing to view "

// View is the materialized view that threw, or "" if the answer is not about one. The table's own rows may
// have landed before it did.
func (a Answer) View() string {
	if a.Err == nil {
		return ""
	}
	return ViewOf(a.Err)
}

// ViewOf is the materialized view that an error of an insert is about, or "".
func ViewOf(err error) string {
	_, after, found := strings.Cut(err.Error(), pushingToView)
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(after, " ")
	return strings.TrimRight(name, ":.,")
}
