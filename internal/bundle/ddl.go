package bundle

import (
	"regexp"
	"strings"
)

// outside are engines, table functions and dictionary sources that reach for other systems, and functions that take keys: what they are told of them
// may be a password wherever it stands.
var outside = regexp.MustCompile(`(?i)\b(s3|s3Cluster|s3Queue|gcs|oss|cosn|url|urlCluster|mysql|materializedMySQL|postgresql|materializedPostgreSQL|mongodb|remote|remoteSecure|redis|azureBlobStorage|azureBlobStorageCluster|azureQueue|` +
	`deltaLake\w*|iceberg\w*|hudi\w*|paimon\w*|jdbc|odbc|hdfs|hdfsCluster|rabbitMQ|nats|kafka|externalDistributed|ytsaurus|arrowFlight|encrypt|decrypt|tryDecrypt|aes_encrypt_mysql|aes_decrypt_mysql|hmac|source|headers|sqlite|executable)\s*\(`)

// named are settings and keys that hold a secret, and addresses that have one in them.
var (
	named      = regexp.MustCompile(`(?i)(\b\w*(?:password|passwd|secret|token|credential|access_key|account_key|private_key|sasl)\w*\s*(?:=|:)?\s*)'(?:[^'\\]|\\.|'')*'`)
	withinURL  = regexp.MustCompile(`(://[^:/@\s']*):[^@\s']+@`)
	withParams = regexp.MustCompile(`(?i)([?&](?:sig|signature|token|key|secret|password|x-amz-signature|x-amz-credential)=)[^&\s'"]+`)
)

// Statement is a CREATE statement without what it says of other systems' secrets: all texts in the arguments of whatever reaches out are hidden.
func Statement(sql string) string {
	var b strings.Builder
	for from := 0; from < len(sql); {
		m := outside.FindStringIndex(sql[from:])
		if m == nil {
			b.WriteString(sql[from:])
			break
		}
		open := from + m[1]
		end := closing(sql, open)
		b.WriteString(sql[from:open])
		b.WriteString(Literals(sql[open:end]))
		from = end
	}
	out := named.ReplaceAllString(b.String(), "${1}'"+Hidden+"'")
	out = withinURL.ReplaceAllString(out, "${1}:"+Hidden+"@")
	return withParams.ReplaceAllString(out, "${1}"+Hidden)
}

// closing is where the parenthesis is closed that was opened before at; the end if it never is.
func closing(sql string, at int) int {
	depth := 1
	for i := at; i < len(sql); i++ {
		switch sql[i] {
		case '\'', '`', '"':
			i = quoteEnd(sql, i) - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(sql)
}

// quoteEnd is where what is quoted from at on is over. Two quotes in a row are one of the text; a text that is over and another that begins at once
// look the same, and are hidden both.
func quoteEnd(sql string, at int) int {
	for i := at + 1; i < len(sql); i++ {
		switch {
		case sql[i] == '\\':
			i++
		case sql[i] == sql[at] && i+1 < len(sql) && sql[i+1] == sql[at]:
			i++
		case sql[i] == sql[at]:
			return i + 1
		}
	}
	return len(sql)
}

// Literals is SQL with its texts hidden; names in back quotes and double quotes stay, and so do numbers.
func Literals(sql string) string { return hide(sql, func(s string) string { return s }) }

var numbers = regexp.MustCompile(`\b[0-9][0-9a-fA-Fx.]*\b`)

// Command is a mutation without what it compares rows with, be it a text or a number: whose rows somebody had deleted.
func Command(sql string) string {
	return hide(sql, func(s string) string { return numbers.ReplaceAllString(s, Hidden) })
}

// hide hides texts; what is not quoted goes through bare.
func hide(sql string, bare func(string) string) string {
	var b strings.Builder
	for i := 0; i < len(sql); {
		switch sql[i] {
		case '\'':
			b.WriteString("'" + Hidden + "'")
			i = quoteEnd(sql, i)
		case '`', '"':
			end := quoteEnd(sql, i)
			b.WriteString(sql[i:end])
			i = end
		default:
			end := i + 1
			for end < len(sql) && !strings.ContainsRune("'`\"", rune(sql[end])) {
				end++
			}
			b.WriteString(bare(sql[i:end]))
			i = end
		}
	}
	return b.String()
}
