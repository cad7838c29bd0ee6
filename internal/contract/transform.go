package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Transform is what happens to an event before its fields go to columns: it is brought to the current version,
// redacted, filtered. It is part of the plan as it stands here, so that a batch is rebuilt the same way. All of
// it is a function of the record alone.
type Transform struct {
	Version *Versions `json:"version,omitempty"`
	Redact  *Redact   `json:"redact,omitempty"`
	// Filter is a CEL expression of a bool: records for which it is false are counted as filtered.
	Filter string `json:"filter,omitempty"`
	// Tombstones says what becomes of records without a value; empty: they are counted, and have no row.
	Tombstones Tombstones `json:"tombstones,omitempty"`
}

// Tombstones is a policy for records without a value.
type Tombstones string

// The policies.
const (
	TombstonesSkip       Tombstones = "" // counted, by partition
	TombstonesDeadLetter Tombstones = "dead_letter"
)

// Versions says which shape an event has, and how older shapes become the current one, which is the shape that
// the contract speaks of.
type Versions struct {
	From    string `json:"from,omitempty"`    // path of the version in the event, a string or a number; or
	Header  string `json:"header,omitempty"`  // the name of the header that holds it
	Current string `json:"current"`           // the version that needs no upcaster
	Missing string `json:"missing,omitempty"` // the version of events that name none; empty: unknown
	// Unknown says what becomes of events of a version that is not known.
	Unknown Unknown  `json:"unknown"`
	Upcast  []Upcast `json:"upcast,omitempty"` // each version once as From; the chains end at Current
}

// Unknown is a policy for events of a version that is not known.
type Unknown string

// The policies.
const (
	UnknownDeadLetter Unknown = "dead_letter" // the record is a dead letter
	UnknownCurrent    Unknown = "current"     // it is taken as it is, as if it were of the current version; counted
)

// Upcast brings an event from one version to the next.
type Upcast struct {
	From  string       `json:"from"`
	To    string       `json:"to"`
	Steps []UpcastStep `json:"steps"` // in order
}

// UpcastOp is what a step does.
type UpcastOp string

// The steps. A step whose source is missing does nothing; one whose target is there already (but for Constant and
// Compute) makes the record a dead letter, as one of two values would be lost.
const (
	OpRename   UpcastOp = "rename"   // From[0] becomes To[0], within the same object
	OpMove     UpcastOp = "move"     // From[0] becomes To[0], anywhere; missing objects on the way are made
	OpSplit    UpcastOp = "split"    // the string at From[0], cut at By, becomes To...; the last one takes the rest
	OpMerge    UpcastOp = "merge"    // the strings at From..., joined by By, become To[0]
	OpDefault  UpcastOp = "default"  // To[0] becomes Value if it is missing
	OpConstant UpcastOp = "constant" // To[0] becomes Value
	OpCompute  UpcastOp = "compute"  // To[0] becomes what the CEL expression Expr gives
)

// UpcastStep is one step; which fields it has depends on Op.
type UpcastStep struct {
	Op    UpcastOp `json:"op"`
	From  []string `json:"from,omitempty"` // paths without [*]
	To    []string `json:"to,omitempty"`   // likewise
	By    string   `json:"by,omitempty"`
	Value string   `json:"value,omitempty"` // JSON text
	Expr  string   `json:"expr,omitempty"`
	// Line and Col are the position in the pipeline file.
	Line int `json:"-"`
	Col  int `json:"-"`
}

// Redact is a policy by which values are removed or made unreadable before anything of a record is stored.
type Redact struct {
	Version int          `json:"version"` // of the policy, for people
	KeepRaw bool         `json:"keep_raw,omitempty"`
	Rules   []RedactRule `json:"rules"`
	// SecretID tells secrets apart without giving them away (see SecretID): a batch is rebuilt under the same secret.
	SecretID string `json:"secret_id,omitempty"`
}

// RedactAction is what becomes of a value.
type RedactAction string

// The actions.
const (
	RedactDrop RedactAction = "drop" // the member is removed
	RedactHash RedactAction = "hash" // a keyed hash (HMAC-SHA256) of it: equal values stay equal
	RedactMask RedactAction = "mask" // a fixed text in its place
)

// RedactRule is one rule: where to look, for what, and what to do with it.
type RedactRule struct {
	// Path is where the rule looks, with all that lies below; empty, and Kafka empty too: the whole event.
	Path string `json:"path,omitempty"`
	// Kafka is "key" or "header.NAME": the rule is about that, not about the event.
	Kafka string `json:"kafka,omitempty"`
	// Detect are detectors ("email", "phone", "card", "api_key") that pick out parts of strings; none: whole values.
	Detect []string     `json:"detect,omitempty"`
	Do     RedactAction `json:"do"`
	// Line and Col are the position in the pipeline file.
	Line int `json:"-"`
	Col  int `json:"-"`
}

// SecretID is a name for a secret that does not give it away: the same for the same secret.
func SecretID(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("waybill redaction secret"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
