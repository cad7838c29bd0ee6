package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// host is which of a client's hosts is spoken to. All statements go to one server, for a read-back proves something only where the insert
// went: another one takes its place when no connection to it can be had, and if it holds the same tables. See docs/adr/0021.
type host struct {
	mu     sync.Mutex
	active int    // of Client.hosts
	server string // its serverUUID; empty: nothing is guarded yet
	// tables are the guarded ones as that server has them; nil: nothing is guarded yet.
	tables hostTables
	guard  func(column string) string // SQL that selects them
	ledger string                     // the database of Waybill's own
	left   map[string]time.Time       // servers that another has taken the place of, and when
}

// hostTables are tables as one server has them, by name, as database.table.
type hostTables map[string]hostTable

type hostTable struct {
	uuid, engine  string
	path, replica string   // in Keeper, of a replicated table
	replicas      []string // that Keeper knows of that table
}

// hosts are all addresses, in the order in which they are tried.
func (c *Client) hosts() []string { return append([]string{c.cfg.Addr}, c.cfg.Others...) }

// dial connects to the host that was last spoken to, or to the next one that answers and may take its place.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	c.host.mu.Lock()
	first := c.host.active
	c.host.mu.Unlock()
	var errs []error
	for i := range c.hosts() {
		cn, err := c.dialHost(ctx, (first+i)%len(c.hosts()))
		if err == nil {
			if err = c.admit(ctx, cn); err == nil {
				return cn, nil
			}
			cn.close()
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// Guard has the client stay with one server for these tables and for those of the database ledger, and checks that the other hosts it may
// turn to are replicas of them. A host that does not answer is checked before it is turned to.
func (c *Client) Guard(ctx context.Context, ledger string, tables ...[2]string) error {
	var names []string
	for _, t := range tables {
		names = append(names, "("+Literal(t[0])+", "+Literal(t[1])+")")
	}
	guard := func(column string) string {
		return fmt.Sprintf("((database, %[1]s) IN (%[2]s) OR database = %[3]s AND endsWith(engine, 'MergeTree') AND NOT startsWith(%[1]s, 'probe_'))", column, strings.Join(names, ", "), Literal(ledger))
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	err := c.withConn(ctx, "clickhouse.hosts", func(ctx context.Context, cn *conn) error {
		id, err := serverID(ctx, cn)
		if err != nil {
			return err
		}
		found, err := describeHost(ctx, cn, guard)
		if err != nil {
			return err
		}
		cn.server = id
		c.host.mu.Lock()
		defer c.host.mu.Unlock()
		c.host.active, c.host.server, c.host.tables, c.host.guard, c.host.ledger, c.host.left = cn.host, id, found, guard, ledger, map[string]time.Time{}
		return nil
	})
	if err != nil {
		return err
	}
	for i, addr := range c.hosts() {
		if err := c.checkHost(ctx, i); err != nil && !NotSent(err) {
			return err
		} else if err != nil {
			c.log.Warn("a host does not answer; it is looked at when it is needed", "host", addr, "error", err)
		}
	}
	return nil
}

// checkHost says why a host cannot take the place of the one that is spoken to.
func (c *Client) checkHost(ctx context.Context, number int) error {
	c.host.mu.Lock()
	active, server, tables, guard := c.host.active, c.host.server, c.host.tables, c.host.guard
	c.host.mu.Unlock()
	if number == active {
		return nil
	}
	cn, err := c.dialHost(ctx, number)
	if err != nil {
		return opError("clickhouse.hosts", err)
	}
	defer cn.close()
	return opError("clickhouse.hosts", cn.run(ctx, func(ctx context.Context, cn *conn) error {
		id, err := serverID(ctx, cn)
		if err != nil || id == server {
			return err
		}
		found, err := describeHost(ctx, cn, guard)
		if err != nil {
			return err
		}
		return replicas(c.hosts()[active], tables, c.hosts()[number], found)
	}))
}

// admit lets a new connection be used if it leads to the server that is spoken to, or to one that may take its place.
func (c *Client) admit(ctx context.Context, cn *conn) error {
	h := &c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tables == nil {
		h.active = cn.host
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	err := cn.run(ctx, func(ctx context.Context, cn *conn) error {
		id, err := serverID(ctx, cn)
		if err != nil {
			return err
		}
		if cn.server = id; id == h.server {
			h.active = cn.host
			return nil
		}
		return c.change(ctx, cn, id)
	})
	if err != nil {
		return &notSentError{err}
	}
	return nil
}

// byTurns: an address that leads back to a server that soon is one that leads to several.
const byTurns = 10 * time.Minute

// change takes up another server in place of the one that was spoken to. h.mu is held.
func (c *Client) change(ctx context.Context, cn *conn, id string) error {
	h, from, to := &c.host, c.hosts()[c.host.active], c.hosts()[cn.host]
	found, err := describeHost(ctx, cn, h.guard)
	if err != nil {
		return err
	}
	switch err := replicas(from, h.tables, to, found); {
	case err == nil:
	case len(c.hosts()) > 1:
		return err
	case c.now().Sub(h.left[id]) < byTurns:
		return &waybill.Error{Op: "clickhouse.hosts", Class: waybill.ClassDenied, Hint: "name the address of one server, or replicate the tables: what one server took, the other would be asked for",
			Err: fmt.Errorf("%s leads to two servers by turns (%s, %s), whose tables are no replicas of each other", to, h.server, id)}
	default:
		// One address, which leads elsewhere now: the server was replaced. That its tables are the same is checked by whoever reads them.
		c.log.Warn("another server answers at this address", "host", to, "was", h.server, "is", id)
	}
	for name, t := range found {
		if strings.HasPrefix(t.engine, "Replicated") {
			if err := cn.do(ctx, &statement{body: "SYSTEM SYNC REPLICA " + quoted(name) + " LIGHTWEIGHT"}); err != nil {
				return err
			}
		}
	}
	if err := c.measure(ctx, cn); err != nil {
		return err
	}
	c.log.Warn("going on with another server", "host", to, "was", from)
	h.left[h.server] = c.now()
	h.server, h.tables, h.active = id, found, cn.host
	return nil
}

// current reports whether a connection leads to the server that is spoken to.
func (c *Client) current(cn *conn) bool {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.host.server == "" || cn.server == c.host.server
}

// Host is the address of the host that is spoken to.
func (c *Client) Host() string {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.hosts()[c.host.active]
}

// syncFor has the server catch up with the other replicas of the tables that a statement reads, if there may be any that somebody else has
// written to: other workers may speak to another host.
func (c *Client) syncFor(ctx context.Context, sql string) error {
	if len(c.cfg.Others) == 0 {
		return nil
	}
	c.host.mu.Lock()
	names := c.host.tables.readBy(sql, c.host.ledger)
	c.host.mu.Unlock()
	for _, name := range names {
		if err := c.Exec(ctx, "SYSTEM SYNC REPLICA "+quoted(name)+" LIGHTWEIGHT"); err != nil {
			return err
		}
	}
	return nil
}

// readBy are the replicated tables that a statement may read: those that it names, and all of the ledger's if it names any, for some are
// read through views.
func (t hostTables) readBy(sql, ledger string) []string {
	own := strings.Contains(sql, Ident(ledger)+".") || strings.Contains(sql, ledger+".")
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		database, _, _ := strings.Cut(name, ".")
		if strings.HasPrefix(t[name].engine, "Replicated") && (database == ledger && own || strings.Contains(sql, quoted(name))) {
			out = append(out, name)
		}
	}
	return out
}

// quoted is a full name for SQL. A database's name has no dot that a table's begins behind: configuration takes none.
func quoted(name string) string {
	database, table, _ := strings.Cut(name, ".")
	return Table(database, table)
}

// replicas says why two servers do not hold the same rows of the same tables; nil if they do.
func replicas(from string, a hostTables, to string, b hostTables) error {
	refuse := func(format string, args ...any) error {
		return &waybill.Error{Op: "clickhouse.hosts", Class: waybill.ClassDenied,
			Err:  fmt.Errorf("%s and %s are no replicas of one server's tables: %s", from, to, fmt.Sprintf(format, args...)),
			Hint: "name one host, or hosts that replicate the tables and Waybill's own: see the guide on ClickHouse"}
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, there := a[name]
		y, here := b[name]
		replicated := func(t hostTable) bool { return strings.HasPrefix(t.engine, "Replicated") }
		switch {
		case !there:
			return refuse("%s has no %s", from, name)
		case !here:
			return refuse("%s has no %s", to, name)
		case x.engine != y.engine:
			return refuse("%s is a %s on the one and a %s on the other", name, x.engine, y.engine)
		case strings.HasPrefix(x.engine, "Shared") && x.uuid == y.uuid:
		case strings.HasPrefix(x.engine, "Shared"):
			return refuse("%s is %s on the one and %s on the other", name, x.uuid, y.uuid)
		case !replicated(x):
			return refuse("%s is a %s on each, which nothing replicates: each has rows of its own", name, x.engine)
		case x.path != y.path:
			return refuse("%s is %s in Keeper on the one and %s on the other", name, x.path, y.path)
		case !slices.Contains(x.replicas, y.replica) || !slices.Contains(y.replicas, x.replica):
			return refuse("%s has replica %s on the one and %s on the other, and Keeper knows %s there and %s here", name, x.replica, y.replica, strings.Join(x.replicas, ", "), strings.Join(y.replicas, ", "))
		}
	}
	return nil
}

// serverID tells servers apart. One that has no id of its own, as clickhouse-local, is known by where its data is.
func serverID(ctx context.Context, cn *conn) (id string, err error) {
	if id, err = ask(ctx, cn, "toString(serverUUID())"); err != nil || strings.Trim(id, "0-") != "" {
		return id, err
	}
	return ask(ctx, cn, "concat(hostName(), ' ', ifNull((SELECT any(path) FROM system.disks WHERE name = 'default'), ''))")
}

func ask(ctx context.Context, cn *conn, expr string) (answer string, err error) {
	var col proto.ColStr
	err = cn.do(ctx, &statement{body: "SELECT " + expr + " AS v", settings: readSettings, result: proto.Results{{Name: "v", Data: &col}},
		onRows: func(int) error { answer = col.Row(0); return nil }})
	return answer, err
}

func describeHost(ctx context.Context, cn *conn, guard func(string) string) (hostTables, error) {
	out := hostTables{}
	var name, uuid, engine, path, replica proto.ColStr
	err := cn.do(ctx, &statement{
		body:     "SELECT concat(database, '.', name) AS n, toString(uuid) AS u, engine AS e FROM system.tables WHERE " + guard("name"),
		settings: readSettings, result: proto.Results{{Name: "n", Data: &name}, {Name: "u", Data: &uuid}, {Name: "e", Data: &engine}},
		onRows: func(rows int) error {
			for i := range rows {
				out[name.Row(i)] = hostTable{uuid: uuid.Row(i), engine: engine.Row(i)}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	known := new(proto.ColStr).Array()
	return out, cn.do(ctx, &statement{
		body:     "SELECT concat(database, '.', table) AS n, zookeeper_path AS p, replica_name AS r, mapKeys(replica_is_active) AS k FROM system.replicas WHERE " + guard("table"),
		settings: readSettings, result: proto.Results{{Name: "n", Data: &name}, {Name: "p", Data: &path}, {Name: "r", Data: &replica}, {Name: "k", Data: known}},
		onRows: func(rows int) error {
			for i := range rows {
				if t, ok := out[name.Row(i)]; ok {
					t.path, t.replica, t.replicas = path.Row(i), replica.Row(i), known.Row(i)
					out[name.Row(i)] = t
				}
			}
			return nil
		},
	})
}
