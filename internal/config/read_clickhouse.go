package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

func readClickHouse(v value, c *ClickHouse) {
	l := &c.Lineage
	var tls value
	v.object(
		required("url", func(v value) { readURL(v, c) }),
		optional("table", intoText(&c.Table, notEmpty, tableName)),
		optional("password_file", intoText(&c.PasswordFile, notEmpty)),
		optional("tls", func(v value) { tls = v; readTLS(v, &c.TLS) }),
		optional("lineage", func(v value) {
			v.object(
				optional("topic", intoText(&l.Topic, notEmpty)),
				optional("partition", intoText(&l.Partition, notEmpty)),
				optional("offset", intoText(&l.Offset, notEmpty)),
				optional("epoch", intoText(&l.Epoch)), // empty: the table has no such column
			)
		}),
		optional("cluster", intoText(&c.Cluster, notEmpty)),
		optional("insert_quorum", func(v value) { readQuorum(v, &c.Quorum) }),
		optional("insert_deadline", intoDuration(&c.InsertDeadline, time.Second, 10*time.Minute)),
		optional("compression", intoWord(&c.Compression, words(CompressionAuto, CompressionNone, CompressionLZ4, CompressionZSTD))),
	)
	if tls.node != nil && c.Scheme != "" && !c.Secure() {
		tls.report(tls.path+" is given, but the URL asks for no TLS", "write clickhouses:// or https:// in "+join(v.path, "url"))
	}
	if c.PasswordFile != "" && c.Password.Reveal() != "" {
		v.at("password_file").report(v.path+" has two passwords: one in the URL, one in a file", "leave it out of the URL")
	}
}

func readTLS(v value, t *TLS) {
	v.object(
		optional("ca", intoText(&t.CA, notEmpty)),
		optional("cert", intoText(&t.Cert, notEmpty)),
		optional("key", intoText(&t.Key, notEmpty)),
		optional("server_name", intoText(&t.ServerName, notEmpty)),
		refused("skip_verify", "any server would be taken for the right one, and given the password: name the authority that signed the server's certificate: tls: {ca: FILE}"),
	)
	if (t.Cert == "") != (t.Key == "") {
		v.report(v.path+" has only one of cert and key", "a client certificate needs both")
	}
}

// readQuorum takes a number of replicas, or auto.
func readQuorum(v value, q *string) {
	text, _ := scalarText(v.node)
	if n, err := strconv.Atoi(text); text != "auto" && (err != nil || n < 2 || n > maxQuorum) {
		v.report(v.path+" is no quorum", "write auto, for most of the replicas, or how many of them, from 2 on; leave it out for one")
		return
	}
	*q = text
}

const maxQuorum = 1000

const urlShape = "write clickhouse://user:password@host:port/database, clickhouses:// for TLS, or http:// or https:// for the HTTP port"

// readURL takes the server's URL apart. Messages never quote it: it holds a password.
func readURL(v value, c *ClickHouse) {
	raw, ok := scalarText(v.node)
	if _, isString := v.node.(*ast.StringNode); !ok || !isString {
		v.expected("text")
		return
	}
	expanded := v.expand(raw, userinfoEscaper(raw))
	if v.r.unresolved[v.node] {
		return
	}
	u, hosts, err := parseHosts(expanded)
	if err != nil {
		v.report(v.path+" is not a URL", urlShape)
		return
	}
	if message, hint := checkURL(u); message != "" {
		v.report(v.path+" "+message, hint)
		return
	}
	c.Scheme = Scheme(u.Scheme)
	if u.Query().Get("secure") == "true" {
		c.Scheme = SchemeNativeTLS
	}
	c.Addr, c.Others = "", nil
	for i, host := range hosts {
		addr, ok := v.hostPort(host, defaultPorts[c.Scheme])
		switch {
		case !ok:
			return
		case i == 0:
			c.Addr = addr
		case slices.Contains(c.Hosts(), addr):
			v.report(v.path+" names "+addr+" twice", "")
			return
		default:
			c.Others = append(c.Others, addr)
		}
	}
	c.User, c.Database = u.User.Username(), strings.TrimPrefix(u.Path, "/")
	password, _ := u.User.Password()
	c.Password = NewSecret(password)
	if c.User == "" {
		c.User = "default"
	}
	if c.Database == "" {
		c.Database = "default"
	}
}

// parseHosts parses a URL that may name several hosts, host:port,host:port, which net/url does not take.
func parseHosts(raw string) (u *url.URL, hosts []string, err error) {
	start := strings.Index(raw, "://") + len("://")
	if start < len("://") {
		start = 0
	}
	end := len(raw)
	if i := strings.IndexAny(raw[start:], "/?#"); i >= 0 {
		end = start + i
	}
	start += strings.LastIndex(raw[start:end], "@") + 1
	hosts = strings.Split(raw[start:end], ",")
	u, err = url.Parse(raw[:start] + hosts[0] + raw[end:])
	return u, hosts, err
}

// userinfoEscaper lets a variable between "://" and "@" hold any character: a password with an @
// or a slash in it need not be percent-encoded by whoever sets it.
func userinfoEscaper(raw string) func(int, string) string {
	start, end := strings.Index(raw, "://"), strings.LastIndex(raw, "@")
	return func(at int, s string) string {
		if start >= 0 && at > start && at < end {
			return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
		}
		return s
	}
}

func checkURL(u *url.URL) (message, hint string) {
	query := u.Query()
	secure := query.Get("secure")
	query.Del("secure")
	switch {
	case defaultPorts[Scheme(u.Scheme)] == "":
		return "does not start with clickhouse://, clickhouses://, http:// or https://", urlShape
	case u.Query().Has("secure") && secure != "true":
		return "has secure=" + secure, "write secure=true, or leave it out for no TLS"
	case secure == "true" && u.Scheme != string(SchemeNative) && u.Scheme != string(SchemeNativeTLS):
		return "has secure=true, which is the native protocol's", "write https://"
	case len(query) > 0 || u.Fragment != "":
		return "has parameters, which are " + strings.TrimPrefix(notAvailable, "is "), urlShape
	case strings.Contains(strings.TrimPrefix(u.Path, "/"), "/"):
		return "has a database name with a slash in it", urlShape
	}
	return "", ""
}
