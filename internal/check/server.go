package check

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
)

var serverChecks = []Check{
	{ID: "server", Group: GroupClickHouse, Asks: "the server takes the user", judge: judgeServer},
	{ID: "settings", Group: GroupClickHouse, Asks: "the user may give the settings that inserts and reads rest on", Needs: []string{"server"}, judge: judgeSettings},
	{ID: "database", Group: GroupClickHouse, Asks: "the database is there", Needs: []string{"server"}, judge: judgeDatabase},
	{ID: "own_database", Group: GroupClickHouse, Asks: "the database waybill is of a version that this binary knows", Needs: []string{"server"}, judge: judgeOwn},
	{ID: "own_grants", Group: GroupClickHouse, Asks: "the user has the rights to the database waybill", Needs: []string{"server"}, judge: judgeOwnGrants},
	{ID: "clock", Group: GroupClickHouse, Asks: "the server's clock and this machine's agree", Needs: []string{"server"}, judge: judgeClock},
	{ID: "disk", Group: GroupClickHouse, Asks: "the disks have room", Needs: []string{"server"}, judge: judgeDisk},
	{ID: "bucket", Group: GroupTable, Asks: "the storage of the archive takes the key, and has the bucket", judge: judgeBucket},
	{ID: "content", Group: GroupTable, Asks: "the place of long values can be used", Needs: []string{"server"}, judge: judgeContent},
}

// The server's codes for what a person must mend before anything else can be asked.
const (
	codeUser    = 192 // UNKNOWN_USER
	codeRefused = 516 // AUTHENTICATION_FAILED
	codeAddress = 195 // IP_ADDRESS_NOT_ALLOWED
)

func judgeServer(f *Facts) verdict {
	c := f.Pipeline.Sink.ClickHouse
	err := f.Server.Err
	if err == nil {
		return well(fmt.Sprintf("%s at %s, as %s", f.Server.Said.Version, c.Addr, f.Server.User))
	}
	e := &waybill.Error{Err: err}
	errors.As(err, &e)
	broken := Finding{Severity: waybill.SeverityError, Why: "rows go there, and the ledger of what became of each record"}
	user := c.User
	if user == "" {
		user = "default"
	}
	var dns *net.DNSError
	switch {
	case e.Code == codeRefused, e.Code == codeUser:
		broken.What = fmt.Sprintf("the server at %s does not take user %s with this password", c.Addr, user)
		broken.Mend = []Mend{do("correct user and password in sink.clickhouse.url")}
	case e.Code == codeAddress:
		broken.What = fmt.Sprintf("the server at %s does not take user %s from this machine's address", c.Addr, user)
		broken.Mend = []Mend{do("add this machine to the user's allowed hosts")}
	case errors.Is(err, clickhouse.ErrTooOld):
		broken.What = e.Err.Error()
		broken.Why = "what an exactly-once insert rests on is not there: a deadline that the server keeps, and settings that are checked"
		broken.Mend = []Mend{do("upgrade the server")}
	case errors.As(err, &dns):
		broken.What = fmt.Sprintf("the name %s of the ClickHouse server does not resolve", dns.Name)
		broken.Mend = []Mend{do("correct the host in sink.clickhouse.url, or the DNS of this machine")}
	case errors.Is(err, syscall.ECONNREFUSED):
		broken.What = "no ClickHouse server listens at " + c.Addr
		broken.Mend = []Mend{do("correct the port in sink.clickhouse.url, or start the server")}
	default:
		broken.What = fmt.Sprintf("the ClickHouse server at %s cannot be asked: %v%s", c.Addr, e.Err, wrongPort(c))
		broken.Mend = []Mend{do("correct the address in sink.clickhouse.url")}
		if e.Hint != "" {
			broken.Mend = []Mend{do(e.Hint)}
		}
	}
	return found(broken)
}

// wrongPort: what usually speaks at a port.
func wrongPort(c config.ClickHouse) string {
	_, port, _ := net.SplitHostPort(c.Addr)
	speaks := map[string]config.Scheme{config.DefaultNativePort: config.SchemeNative, config.DefaultHTTPPort: config.SchemeHTTP, config.DefaultHTTPSPort: config.SchemeHTTPS}[port]
	if speaks == "" || speaks == c.Scheme {
		return ""
	}
	return fmt.Sprintf("; at port %s servers usually speak %s://", port, speaks)
}

func judgeSettings(f *Facts) verdict {
	if mode := f.Server.ReadOnly; mode != "" && mode != "0" {
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the profile of user %s is read-only (readonly = %s)", f.Server.User, mode),
			Why: "nothing can be inserted", Mend: []Mend{do("give the user a profile with readonly = 0")}})
	}
	if len(f.Server.Vetoes) == 0 {
		return well("all of them")
	}
	var names []string
	for _, v := range f.Server.Vetoes {
		names = append(names, v.Setting)
	}
	what := fmt.Sprintf("the profile of user %s forbids to change %s", f.Server.User, strings.Join(names, ", "))
	mend := fmt.Sprintf("remove the constraints on %s from the user's settings profile", strings.Join(names, ", "))
	return found(Finding{Severity: waybill.SeverityError, What: what,
		Why:  "each of these decides what an acknowledgement means, whether a token deduplicates, or whether a read is whole",
		Mend: []Mend{do(mend)}})
}

func judgeDatabase(f *Facts) verdict {
	c := f.Pipeline.Sink.ClickHouse
	if !f.Server.NoDatabase {
		return well(c.Database)
	}
	return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("database %s does not exist, or user %s may not see it", c.Database, f.Server.User),
		Why: "the tables are to be in it", Mend: []Mend{create("CREATE DATABASE " + clickhouse.Ident(c.Database) + onCluster(c))}})
}

func onCluster(c config.ClickHouse) string {
	if c.Cluster == "" {
		return ""
	}
	return " ON CLUSTER " + clickhouse.Ident(c.Cluster)
}

func judgeOwn(f *Facts) verdict {
	s := &f.Server
	switch {
	case s.OwnErr != nil:
		return unknown(fmt.Sprintf("it cannot be read: %v", s.OwnErr))
	case s.Own == 0:
		return well("there is none yet: the first worker makes it")
	case s.Own > f.Demands.SchemaVersion:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the database waybill is of version %d, and this binary knows versions up to %d", s.Own, f.Demands.SchemaVersion),
			Why: "a newer Waybill has run here: this one could not read what that has written", Mend: []Mend{do("run the newer version everywhere")}})
	case s.Own < f.Demands.SchemaVersion:
		return found(Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("the database waybill is of version %d: the first worker brings it to version %d", s.Own, f.Demands.SchemaVersion),
			Why: "older workers go on with it, older binaries no longer start"})
	}
	return well(fmt.Sprintf("version %d", s.Own))
}

func judgeOwnGrants(f *Facts) verdict {
	return judgeGrants(f.Server.Grants, f.Server.User)
}

// judgeGrants is about rights, one finding for all that are missing and needed.
func judgeGrants(grants []Grant, user string) verdict {
	var v verdict
	var lack, why, statements []string
	for _, g := range grants {
		switch {
		case g.Err != nil:
			v.unknown = fmt.Sprintf("the server does not say: %v", g.Err)
		case g.Have:
		case g.Optional:
			v.add(Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("user %s lacks %s", user, g.Right), Why: g.For, Mend: []Mend{sql(grant(g, user))}})
		default:
			lack, why, statements = append(lack, g.Right), append(why, g.For), append(statements, grant(g, user))
		}
	}
	if len(lack) > 0 {
		finding := Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("user %s lacks %s", user, strings.Join(lack, "; ")), Why: strings.Join(why, "; ")}
		for _, s := range statements {
			finding.Mend = append(finding.Mend, sql(s))
		}
		v.findings = append([]Finding{finding}, v.findings...)
	}
	return v.orWell("all of them")
}

func grant(g Grant, user string) string {
	return fmt.Sprintf("GRANT %s TO %s", g.Right, clickhouse.Ident(user))
}

// skewLimit is how far clocks may be apart without a word.
const skewLimit = 5 * time.Second

func judgeClock(f *Facts) verdict {
	skew := max(f.Server.Skew, -f.Server.Skew) - f.Server.Margin
	if skew <= skewLimit {
		return well(fmt.Sprintf("no further apart than %s", skewLimit))
	}
	word := "ahead of"
	if f.Server.Skew < 0 {
		word = "behind"
	}
	return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("the server's clock is %s %s this machine's", max(f.Server.Skew, -f.Server.Skew).Round(time.Second), word),
		Why:  "batches and deadlines go by the server's clock, and are right; times in logs, and whether records come late, go by this machine's",
		Mend: []Mend{do("set both clocks (NTP)")}})
}

// Room that a disk should have: as much as a day's parts and a merge of them need is not known here, so only what is surely too little is named.
const (
	leastRoom = 1 << 30
	leastPart = 50 // one in so many
)

func judgeDisk(f *Facts) verdict {
	if f.Server.DisksErr != nil {
		return unknown(fmt.Sprintf("the disks cannot be seen: %v", f.Server.DisksErr))
	}
	var v verdict
	var names []string
	for _, d := range f.Server.Disks {
		text := fmt.Sprintf("disk %s has %.1f of %.1f GB free", d.Name, float64(d.Free)/1e9, float64(d.Total)/1e9)
		names = append(names, d.Name)
		if d.Free < leastRoom || d.Free < d.Total/leastPart {
			v.add(Finding{Severity: waybill.SeverityWarning, What: text, Why: "inserts stop when it is full, and merges before that", Mend: []Mend{do("make room, or add a disk")}})
		}
	}
	return v.orWell(strings.Join(names, ", "))
}

func judgeBucket(f *Facts) verdict {
	o := f.Pipeline.Sink.Objects
	if o == nil {
		return well("")
	}
	if f.Objects == nil {
		return well(o.Place())
	}
	return found(unusable(f.Objects, "the archive's storage "+o.Place(), "records are kept there for backfills of what Kafka no longer has", "archive.s3", o.Endpoint))
}

// unusable says why a place cannot be used that a key of the file names.
func unusable(err error, place, why, key, endpoint string) Finding {
	broken := Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("%s cannot be used: %v", place, err), Why: why, Mend: []Mend{do("correct " + key + " in the file")}}
	var e *waybill.Error
	if errors.As(err, &e) {
		broken.What = fmt.Sprintf("%s cannot be used: %v", place, e.Err)
		if e.Hint != "" {
			broken.Mend = []Mend{do(e.Hint)}
		}
	}
	if endpoint != "" && errors.Is(err, syscall.ECONNREFUSED) {
		broken.What = fmt.Sprintf("no storage listens at %s, where %s is", endpoint, place)
		broken.Mend = []Mend{do("correct " + key + ".endpoint, or start what should answer there")}
	}
	return broken
}

func judgeContent(f *Facts) verdict {
	c := f.Pipeline.Content
	if c == nil {
		return well("")
	}
	const why = "long values are kept there, and no row is written before those that it refers to"
	if f.Content.Err != nil {
		key, endpoint := "content.table", ""
		if c.S3 != nil {
			key, endpoint = "content.s3", c.S3.Endpoint
		}
		return found(unusable(f.Content.Err, "the place of long values "+f.Content.Place, why, key, endpoint))
	}
	v := judgeGrants(f.Content.Grants, f.Server.User)
	if len(v.findings) == 0 && v.unknown == "" {
		return well(f.Content.Place)
	}
	return v
}
