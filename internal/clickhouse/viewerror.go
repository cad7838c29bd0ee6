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
	_, after, found := strings.Cut(a.Err.Error(), pushingToView)
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(after, " ")
	return strings.TrimRight(name, ":.,")
}
