package config

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// given is what a placeholder stood for when the file was read.
type given struct {
	path, token string
	value       Secret
}

// Masked is the file as it may be shown to somebody else: every value that is, or may hold, a secret is "***", and so are the paths of files that
// hold one. Placeholders, hosts and names stay. There are no comments in it: nobody can tell what they hold.
func (p *Pipeline) Masked() (string, error) {
	file, err := parser.ParseBytes([]byte(strings.Join(p.src().lines, "\n")), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return "", err
	}
	body, problem := onlyDocument(p.src(), file)
	if problem != nil {
		return "", Problems{*problem}
	}
	var v any
	if err := yaml.NodeToValue(body, &v, yaml.UseOrderedMap()); err != nil {
		return "", err
	}
	text, err := yaml.MarshalWithOptions(masked(v, Describe(), ""), yaml.IndentSequence(true))
	return string(text), err
}

// masked is a value of the file without its secrets. What the reader does not know is one: no file that can be read has such.
func masked(v any, shape *Shape, path string) any {
	switch {
	case shape == nil || shape.WriteOnly:
		return maskLeaves(v, path)
	case namesSecretFile(path):
		return maskLeaves(v, "")
	}
	switch v := v.(type) {
	case yaml.MapSlice:
		out := slices.Clone(v)
		for i, item := range v {
			key, _ := item.Key.(string)
			out[i].Value = masked(item.Value, shape.child(key), join(path, key))
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range v {
			out[i] = masked(v[i], shape.item(), path+"[]")
		}
		return out
	case string:
		return fileToken.ReplaceAllString(v, "$${file:"+redacted+"}")
	}
	return v
}

// child is what a mapping's key may hold; nil: the reader does not know it.
func (s *Shape) child(key string) *Shape {
	if c := s.Properties[key]; c != nil {
		return c
	}
	if c := s.Other(); c != nil {
		return c
	}
	for _, one := range s.AnyOf {
		if c := one.child(key); c != nil {
			return c
		}
	}
	return nil
}

// item is what a list's items may be.
func (s *Shape) item() *Shape {
	if s.Items != nil {
		return s.Items
	}
	for _, one := range s.AnyOf {
		if c := one.item(); c != nil {
			return c
		}
	}
	return nil
}

var (
	// fileToken is ${file:PATH}: where a secret is kept is nobody's business.
	fileToken = regexp.MustCompile(`\$\{file:[^}]*\}`)
	// shownFile are keys that name files without a secret in them.
	shownFile = regexp.MustCompile(`(^|\.)(ca_file|cert_file)$`)
	anyFile   = regexp.MustCompile(`(_file|\.tls\.key)$`)
	hostOnly  = regexp.MustCompile(`^https?://[A-Za-z0-9._\[\]:-]+`)
)

// namesSecretFile: the key names a file that holds a secret.
func namesSecretFile(path string) bool {
	return anyFile.MatchString(path) && !shownFile.MatchString(path)
}

func maskLeaves(v any, path string) any {
	switch v := v.(type) {
	case yaml.MapSlice:
		out := slices.Clone(v)
		for i, item := range v {
			out[i].Value = maskLeaves(item.Value, "")
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range v {
			out[i] = maskLeaves(v[i], "")
		}
		return out
	case string:
		switch {
		case path == "sink.clickhouse.url":
			return maskURL(v)
		case strings.HasSuffix(path, ".url") && hostOnly.MatchString(v) && !strings.Contains(v, "@"):
			host := hostOnly.FindString(v)
			return host + maskPath(v[len(host):])
		}
		return maskText(v)
	case nil:
		return nil
	}
	return redacted
}

// maskPath hides what an address has behind its host.
func maskPath(s string) string {
	slash := ""
	if strings.HasPrefix(s, "/") {
		slash, s = "/", s[1:]
	}
	if s == "" {
		return slash
	}
	return slash + maskText(s)
}

// maskURL hides the password of a server's address.
func maskURL(s string) string {
	at, start := strings.LastIndex(s, "@"), strings.Index(s, "://")
	if at < 0 || start < 0 || at < start {
		return fileToken.ReplaceAllString(s, "$${file:"+redacted+"}")
	}
	start += len("://")
	user, password, has := cutUserinfo(s[start:at])
	if !has {
		return s[:start] + user + s[at:]
	}
	return s[:start] + user + ":" + maskText(password) + s[at:]
}

// cutUserinfo parts user and password at the first colon that is in no placeholder.
func cutUserinfo(s string) (user, password string, has bool) {
	deep := 0
	for i := range len(s) {
		switch {
		case s[i] == '{':
			deep++
		case s[i] == '}':
			deep--
		case s[i] == ':' && deep == 0:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// maskText leaves the placeholders of a text.
func maskText(s string) string {
	var b strings.Builder
	last := 0
	for _, m := range anyPlaceholder.FindAllStringIndex(s, -1) {
		token := s[m[0]:m[1]]
		if !placeholder.MatchString(token) && !filePlaceholder.MatchString(token) {
			continue
		}
		if m[0] > last {
			b.WriteString(redacted)
		}
		if filePlaceholder.MatchString(token) {
			token = "${file:" + redacted + "}"
		}
		b.WriteString(token)
		last = m[1]
	}
	if last < len(s) || s == "" {
		b.WriteString(redacted)
	}
	return b.String()
}

// Secrets are the values that must not be shown to anybody: what the file holds of them, what variables and files have stood for, what is in the
// files that it names, and where those are. A variable that stands for a host or a name is none.
func (p *Pipeline) Secrets() []string {
	var out []string
	add := func(texts ...string) {
		for _, s := range texts {
			if s = strings.TrimRight(s, "\r\n"); s != "" && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	inFile := func(path string) {
		if path == "" {
			return
		}
		add(path)
		if abs, err := filepath.Abs(path); err == nil {
			add(abs)
		}
		if data, err := os.ReadFile(path); err == nil && len(data) <= maxContent {
			add(string(data))
			add(lines(string(data))...)
		}
	}
	add(p.Sink.ClickHouse.Password.Reveal(), p.RedactSecret.Reveal())
	inFile(p.Sink.ClickHouse.PasswordFile)
	inFile(p.Sink.ClickHouse.TLS.Key)
	if t := p.Source.Kafka.TLS; t != nil {
		inFile(t.KeyFile)
	}
	if s := p.Source.Kafka.SASL; s != nil {
		texts := []SecretText{s.Password, s.Token}
		if s.Credentials != nil {
			texts = append(texts, s.Credentials.ClientSecret)
		}
		for _, t := range texts {
			add(t.Value.Reveal())
			inFile(t.File)
		}
		inFile(s.AWS.CredentialsFile)
		inFile(s.Kerberos.KeytabFile)
	}
	if p.Archive != nil && p.Archive.S3 != nil {
		add(p.Archive.S3.SecretKey.Reveal())
	}
	for _, a := range p.Alerts {
		add(partsOfURL(a.URL.Reveal())...)
		for _, h := range a.Headers {
			add(h.Reveal())
			if _, bare, ok := strings.Cut(h.Reveal(), " "); ok { // "Bearer ..."
				add(bare)
			}
		}
	}
	names := p.names()
	for _, g := range p.given {
		value := g.value.Reveal()
		if m := filePlaceholder.FindStringSubmatch(g.token); m != nil {
			add(m[1])
		}
		secret := slices.ContainsFunc(p.hidden, func(path string) bool {
			return g.path == path || strings.HasPrefix(g.path, path+".") || strings.HasPrefix(g.path, path+"[")
		})
		name := slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, value) })
		switch {
		case secret && g.path != "sink.clickhouse.url": // that one holds names as well; its password is among the secrets already
		case name, plain.MatchString(value):
			continue
		}
		add(value)
	}
	return out
}

// plain is a number, a size, a time, yes or no: to take those out of everything would leave nothing that can be read.
var plain = regexp.MustCompile(`^(true|false|null|-?[0-9]+(\.[0-9]+)?\s*[A-Za-z]{0,3})?$`)

// lines of a file that may be a secret each; a file of keys has several.
func lines(text string) (out []string) {
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "-----") {
			out = append(out, line)
			if _, value, ok := strings.Cut(line, "="); ok { // as AWS's own tools have it
				out = append(out, strings.TrimSpace(value))
			}
		}
	}
	return out
}

// partsOfURL are what of an address may be repeated without the rest.
func partsOfURL(text string) []string {
	out := []string{text}
	u, err := url.Parse(text)
	if err != nil {
		return out
	}
	if password, ok := u.User.Password(); ok {
		out = append(out, password)
	}
	if uri := u.RequestURI(); uri != "/" {
		out = append(out, uri, u.Path)
	}
	for _, part := range strings.Split(u.Path, "/") {
		if len(part) >= 12 {
			out = append(out, part)
		}
	}
	return out
}

// names are what is shown to everybody: hosts, and what things are called.
func (p *Pipeline) names() []string {
	k, c := p.Source.Kafka, p.Sink.ClickHouse
	out := append([]string{p.Name, k.Topic, k.Group, k.InstanceID, k.Rack, c.User, c.Database, c.Cluster, c.TLS.ServerName, c.TLS.CA, c.TLS.Cert, p.DeadLetters.Mirror, p.File}, k.Brokers...)
	out = append(out, c.Hosts()...)
	for _, t := range p.Tables() {
		out = append(out, t.Route, t.Sink.ClickHouse.Table)
	}
	if k.TLS != nil {
		out = append(out, k.TLS.CAFile, k.TLS.CertFile, k.TLS.ServerName)
	}
	if s := k.SASL; s != nil {
		out = append(out, s.User, s.Kerberos.Principal, s.Kerberos.Service, s.Kerberos.ConfigFile, s.AWS.Profile)
		if s.Credentials != nil {
			out = append(out, s.Credentials.URL, s.Credentials.ClientID, s.Credentials.CAFile)
		}
	}
	if a := p.Archive; a != nil {
		out = append(out, a.Table)
		if a.S3 != nil {
			out = append(out, a.S3.Endpoint, a.S3.Bucket, a.S3.Prefix, a.S3.Region, a.S3.AccessKey)
		}
	}
	return out
}
