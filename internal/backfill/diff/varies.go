package diff

import (
	"regexp"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// varying are the functions that give something else each time, or on another server, or later, in lower case.
var varying = []string{
	"now", "now64", "nowinblock", "nowinblock64", "today", "curdate", "current_date", "yesterday", "utctimestamp", "utc_timestamp", "current_timestamp", "localtime", "localtimestamp",
	"rand", "rand32", "rand64", "randconstant", "randcanonical", "randuniform", "randnormal", "randlognormal", "randexponential", "randchisquared", "randstudentt", "randfisherf", "randbernoulli", "randbinomial",
	"randnegativebinomial", "randpoisson", "randomstring", "randomfixedstring", "randomprintableascii", "randomstringutf8", "fuzzbits", "fuzzjson", "fuzzquery",
	"generateuuidv4", "generateuuidv7", "uuid", "generateulid", "generatesnowflakeid", "generateserialid", "rownumberinblock", "rownumberinallblocks", "blocknumber", "blocksize", "runningdifference", "runningaccumulate", "neighbor",
	"hostname", "fqdn", "serveruuid", "uptime", "version", "buildid", "tcpport", "timezone", "servertimezone", "currentuser", "user", "initialqueryid", "queryid", "query_id", "connectionid", "connection_id", "currentdatabase", "database",
	"getsetting", "getserversetting", "getmacro", "filesystemavailable", "filesystemfree", "filesystemcapacity", "joinget", "joingetornull", "file", "catboostevaluate", "tid", "zookeepersessionuptime",
}

// called are the words of an expression, those in quotes excepted.
var (
	quoted = regexp.MustCompile(`'(?:[^'\\]|\\.|'')*'`)
	called = regexp.MustCompile("[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\\\]|\\\\.)*`")
)

// varies names what makes the value that the server fills a column with another each time: a function, perhaps in the expression of another column; empty: nothing
// that is known.
func varies(name string, columns []contract.TableColumn) string { return variesIn(name, columns, nil) }

func variesIn(name string, columns []contract.TableColumn, seen []string) string {
	i := slices.IndexFunc(columns, func(in contract.TableColumn) bool { return in.Name == name })
	if i < 0 || columns[i].DefaultExpr == "" || slices.Contains(seen, name) {
		return ""
	}
	seen = append(seen, name)
	for _, word := range called.FindAllString(quoted.ReplaceAllString(columns[i].DefaultExpr, "''"), -1) {
		word = strings.Trim(word, "`")
		if lower := strings.ToLower(word); slices.Contains(varying, lower) || strings.HasPrefix(lower, "dictget") || strings.HasPrefix(lower, "dicthas") {
			if !slices.ContainsFunc(columns, func(in contract.TableColumn) bool { return in.Name == word }) {
				return columns[i].DefaultKind + " " + columns[i].DefaultExpr
			}
		}
		if by := variesIn(word, columns, seen); by != "" {
			return by
		}
	}
	return ""
}
