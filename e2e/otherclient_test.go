package e2e

// otherClient is somebody else who alters the table, and what it has done.
type otherClient struct {
	owned   map[string]column // columns whose comments it has taken away: what they took
	foreign map[string]string // its own columns: their DEFAULT
	drops   []drop
	touched map[string]bool // paths whose columns it has done something to
}

// drop is one column that it has dropped.
type drop struct {
	names map[string]bool // that the column had
	path  string
	after int64 // when the DROP was over: milliseconds, by the server's clock
}

func newOtherClient() *otherClient {
	return &otherClient{owned: map[string]column{}, foreign: map[string]string{}, touched: map[string]bool{}}
}

// touches reports whether it has done something to a column that has to do with the path.
func (c *otherClient) touches(path string) bool {
	for t := range c.touched {
		if leadsTo(t, path) || leadsTo(path, t) {
			return true
		}
	}
	return false
}
