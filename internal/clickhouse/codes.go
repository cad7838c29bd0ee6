package clickhouse

import (
	waybill "github.com/waybill-data/waybill"
)

// codeRule says what one server error code means for whoever must act on it.
type codeRule struct {
	name  string // the server's own
	class waybill.Class
	why   string
	hint  string // for people; empty where waiting is the answer
}

// Hints that several codes share.
const (
	hintRow      = "the row is found by halving the block and becomes a dead letter"
	hintTable    = "compare the table with the pipeline's contract: `waybill plan` does"
	hintGrant    = "grant the user what the message names"
	hintPassword = "check user and password"
	hintLimit    = "raise the limit in this user's settings profile; a partial answer would be no proof"
	hintServer   = "see the server's log"
)

// codeRules is the one place that knows the server's error codes. A code that is not here is ClassUnknown: retried and counted.
var codeRules = map[int]codeRule{
	// Transport and protocol: the connection is given up and the next one tries again.
	3:    {"UNEXPECTED_END_OF_FILE", waybill.ClassRetryable, "the connection broke inside a block", ""},
	32:   {"ATTEMPT_TO_READ_AFTER_EOF", waybill.ClassRetryable, "the connection broke inside a block", ""},
	33:   {"CANNOT_READ_ALL_DATA", waybill.ClassRetryable, "the connection broke inside a block", ""},
	40:   {"CHECKSUM_DOESNT_MATCH", waybill.ClassRetryable, "bytes were damaged on the way", ""},
	95:   {"CANNOT_READ_FROM_SOCKET", waybill.ClassRetryable, "network", ""},
	96:   {"CANNOT_WRITE_TO_SOCKET", waybill.ClassRetryable, "network", ""},
	99:   {"UNKNOWN_PACKET_FROM_CLIENT", waybill.ClassRetryable, "the stream lost its step; a new connection starts clean", ""},
	101:  {"UNEXPECTED_PACKET_FROM_CLIENT", waybill.ClassRetryable, "the stream lost its step; a new connection starts clean", ""},
	102:  {"UNEXPECTED_PACKET_FROM_SERVER", waybill.ClassRetryable, "the stream lost its step; a new connection starts clean", ""},
	198:  {"DNS_ERROR", waybill.ClassRetryable, "name resolution comes back", ""},
	203:  {"NO_FREE_CONNECTION", waybill.ClassRetryable, "network", ""},
	209:  {"SOCKET_TIMEOUT", waybill.ClassRetryable, "network", ""},
	210:  {"NETWORK_ERROR", waybill.ClassRetryable, "network", ""},
	216:  {"QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", waybill.ClassRetryable, "an earlier send of ours still runs", ""},
	236:  {"ABORTED", waybill.ClassRetryable, "the server is shutting down or the table is being detached", ""},
	279:  {"ALL_CONNECTION_TRIES_FAILED", waybill.ClassRetryable, "network between servers", ""},
	373:  {"SESSION_IS_LOCKED", waybill.ClassRetryable, "another statement of the session runs", ""},
	394:  {"QUERY_WAS_CANCELLED", waybill.ClassRetryable, "KILL QUERY or shutdown", ""},
	519:  {"NO_REMOTE_SHARD_AVAILABLE", waybill.ClassRetryable, "network between servers", ""},
	677:  {"THREAD_WAS_CANCELED", waybill.ClassRetryable, "KILL QUERY or shutdown", ""},
	734:  {"CANNOT_WRITE_AFTER_BUFFER_CANCELED", waybill.ClassRetryable, "KILL QUERY or shutdown", ""},
	735:  {"QUERY_WAS_CANCELLED_BY_CLIENT", waybill.ClassRetryable, "our own connection went away", ""},
	1000: {"POCO_EXCEPTION", waybill.ClassRetryable, "network or host, in the server's library", ""},
	1001: {"STD_EXCEPTION", waybill.ClassRetryable, "host, in the server's library", hintServer},
	1002: {"UNKNOWN_EXCEPTION", waybill.ClassRetryable, "the server does not know either", hintServer},

	// A table or server that is not ready for writes now.
	49:  {"LOGICAL_ERROR", waybill.ClassRetryable, "a bug of the server; one row must not pay for it", hintServer},
	218: {"TABLE_IS_DROPPED", waybill.ClassRetryable, "in the middle of a swap or drop; afterwards it is 60", ""},
	242: {"TABLE_IS_READ_ONLY", waybill.ClassRetryable, "a replicated table without Keeper", "check ClickHouse Keeper"},
	244: {"UNEXPECTED_ZOOKEEPER_ERROR", waybill.ClassRetryable, "Keeper", "check ClickHouse Keeper"},
	225: {"NO_ZOOKEEPER", waybill.ClassRetryable, "Keeper is not configured or not reached", "check ClickHouse Keeper"},
	254: {"NO_ACTIVE_REPLICAS", waybill.ClassRetryable, "replicas come back", ""},
	265: {"NO_AVAILABLE_REPLICA", waybill.ClassRetryable, "replicas come back", ""},
	285: {"TOO_FEW_LIVE_REPLICAS", waybill.ClassRetryable, "the quorum comes back", "check the replicas"},
	286: {"UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", waybill.ClassRetryable, "the quorum comes back", "check the replicas"},
	289: {"REPLICA_IS_NOT_IN_QUORUM", waybill.ClassRetryable, "this replica must catch up before it may be read", "check the replicas"},
	319: {"UNKNOWN_STATUS_OF_INSERT", waybill.ClassRetryable, "Keeper lost the answer; the rows may be there", ""},
	369: {"ALL_REPLICAS_ARE_STALE", waybill.ClassRetryable, "replicas catch up", ""},
	384: {"PART_IS_TEMPORARILY_LOCKED", waybill.ClassRetryable, "a merge or a swap holds the part", ""},
	416: {"REPLICA_STATUS_CHANGED", waybill.ClassRetryable, "Keeper session", ""},
	473: {"DEADLOCK_AVOIDED", waybill.ClassRetryable, "DDL holds the table", ""},
	659: {"UNKNOWN_STATUS_OF_TRANSACTION", waybill.ClassRetryable, "Keeper lost the answer", ""},
	667: {"NOT_INITIALIZED", waybill.ClassRetryable, "the server is starting", ""},
	695: {"ASYNC_LOAD_FAILED", waybill.ClassRetryable, "the table did not load at start", hintServer},
	696: {"ASYNC_LOAD_CANCELED", waybill.ClassRetryable, "the server is starting or stopping", ""},
	722: {"ASYNC_LOAD_WAIT_FAILED", waybill.ClassRetryable, "the server is starting", hintServer},
	733: {"TABLE_IS_BEING_RESTARTED", waybill.ClassRetryable, "SYSTEM RESTART REPLICA", ""},
	741: {"TABLE_UUID_MISMATCH", waybill.ClassRetryable, "the table was swapped while the statement ran; nothing was written", ""},
	999: {"KEEPER_EXCEPTION", waybill.ClassRetryable, "Keeper", "check ClickHouse Keeper"},
	74:  {"CANNOT_READ_FROM_FILE_DESCRIPTOR", waybill.ClassRetryable, "disk", hintServer},
	75:  {"CANNOT_WRITE_TO_FILE_DESCRIPTOR", waybill.ClassRetryable, "disk", hintServer},
	76:  {"CANNOT_OPEN_FILE", waybill.ClassRetryable, "disk or file handles", hintServer},
	107: {"FILE_DOESNT_EXIST", waybill.ClassRetryable, "disk", hintServer},
	204: {"CANNOT_FSYNC", waybill.ClassRetryable, "disk", hintServer},
	424: {"CANNOT_LINK", waybill.ClassRetryable, "disk", hintServer},
	425: {"SYSTEM_ERROR", waybill.ClassRetryable, "the host", hintServer},
	499: {"S3_ERROR", waybill.ClassRetryable, "object storage", hintServer},
	500: {"AZURE_BLOB_STORAGE_ERROR", waybill.ClassRetryable, "object storage", hintServer},
	521: {"ATOMIC_RENAME_FAIL", waybill.ClassRetryable, "disk", hintServer},
	710: {"FAULT_INJECTED", waybill.ClassRetryable, "a test of the server", ""},

	// Pressure: the same, but worth slowing down for.
	159: {"TIMEOUT_EXCEEDED", waybill.ClassThrottled, "the server did not get done in time", ""},
	160: {"TOO_SLOW", waybill.ClassThrottled, "the server did not get done in time", ""},
	173: {"CANNOT_ALLOCATE_MEMORY", waybill.ClassThrottled, "memory", ""},
	201: {"QUOTA_EXCEEDED", waybill.ClassThrottled, "the user's quota refills", "raise the user's quota if this lasts"},
	202: {"TOO_MANY_SIMULTANEOUS_QUERIES", waybill.ClassThrottled, "other queries end", ""},
	241: {"MEMORY_LIMIT_EXCEEDED", waybill.ClassThrottled, "memory", "lower batch.bytes if this lasts"},
	243: {"NOT_ENOUGH_SPACE", waybill.ClassThrottled, "someone frees the disk", "free space on the server's disk"},
	252: {"TOO_MANY_PARTS", waybill.ClassThrottled, "merges catch up", "larger or fewer batches; see the table's partition key"},
	290: {"LIMIT_EXCEEDED", waybill.ClassThrottled, "a limit of the server", ""},
	364: {"RECEIVED_ERROR_TOO_MANY_REQUESTS", waybill.ClassThrottled, "object storage", ""},
	439: {"CANNOT_SCHEDULE_TASK", waybill.ClassThrottled, "no free thread", ""},
	574: {"DISTRIBUTED_TOO_MANY_PENDING_BYTES", waybill.ClassThrottled, "distributed sends catch up", ""},
	692: {"TOO_MANY_MUTATIONS", waybill.ClassThrottled, "mutations catch up", "see system.mutations"},
	700: {"USER_SESSION_LIMIT_EXCEEDED", waybill.ClassThrottled, "other sessions end", ""},
	745: {"SERVER_OVERLOADED", waybill.ClassThrottled, "CPU", ""},

	// Some row of the block, or what a constraint or view makes of it.
	6:   {"CANNOT_PARSE_TEXT", waybill.ClassPoison, "a value does not parse", hintRow},
	25:  {"CANNOT_PARSE_ESCAPE_SEQUENCE", waybill.ClassPoison, "a value does not parse", hintRow},
	26:  {"CANNOT_PARSE_QUOTED_STRING", waybill.ClassPoison, "a value does not parse", hintRow},
	27:  {"CANNOT_PARSE_INPUT_ASSERTION_FAILED", waybill.ClassPoison, "a value does not parse", hintRow},
	38:  {"CANNOT_PARSE_DATE", waybill.ClassPoison, "a value does not parse", hintRow},
	41:  {"CANNOT_PARSE_DATETIME", waybill.ClassPoison, "a value does not parse", hintRow},
	69:  {"ARGUMENT_OUT_OF_BOUND", waybill.ClassPoison, "a value is out of its type's range", hintRow},
	72:  {"CANNOT_PARSE_NUMBER", waybill.ClassPoison, "a value does not parse", hintRow},
	117: {"INCORRECT_DATA", waybill.ClassPoison, "a value is not what its type says, as broken JSON", hintRow},
	128: {"TOO_LARGE_ARRAY_SIZE", waybill.ClassPoison, "a value is too large", hintRow},
	130: {"CANNOT_READ_ARRAY_FROM_TEXT", waybill.ClassPoison, "a value does not parse", hintRow},
	131: {"TOO_LARGE_STRING_SIZE", waybill.ClassPoison, "a value is too large", hintRow},
	153: {"ILLEGAL_DIVISION", waybill.ClassPoison, "a view or column expression divides by a row's zero", hintRow},
	190: {"SIZES_OF_ARRAYS_DONT_MATCH", waybill.ClassPoison, "a row's nested arrays differ in length", hintRow},
	248: {"INVALID_PARTITION_VALUE", waybill.ClassPoison, "a row's partition key cannot be stored", hintRow},
	321: {"VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", waybill.ClassPoison, "a value is out of its type's range", hintRow},
	349: {"CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", waybill.ClassPoison, "a row has NULL for a column that cannot hold it", hintRow},
	376: {"CANNOT_PARSE_UUID", waybill.ClassPoison, "a value does not parse", hintRow},
	395: {"FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", waybill.ClassPoison, "a view or constraint throws on a row", hintRow},
	407: {"DECIMAL_OVERFLOW", waybill.ClassPoison, "a value is out of its type's range", hintRow},
	441: {"CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", waybill.ClassPoison, "a value does not parse", hintRow},
	467: {"CANNOT_PARSE_BOOL", waybill.ClassPoison, "a value does not parse", hintRow},
	469: {"VIOLATED_CONSTRAINT", waybill.ClassPoison, "a row violates a CHECK", hintRow},
	503: {"AGGREGATE_FUNCTION_THROW", waybill.ClassPoison, "a view throws on a row", hintRow},
	563: {"CANNOT_READ_MAP_FROM_TEXT", waybill.ClassPoison, "a value does not parse", hintRow},
	632: {"UNEXPECTED_DATA_AFTER_PARSED_VALUE", waybill.ClassPoison, "a value does not parse", hintRow},
	645: {"NUMBER_OF_DIMENSIONS_MISMATCHED", waybill.ClassPoison, "a row's JSON changes shape", hintRow},
	675: {"CANNOT_PARSE_IPV4", waybill.ClassPoison, "a value does not parse", hintRow},
	676: {"CANNOT_PARSE_IPV6", waybill.ClassPoison, "a value does not parse", hintRow},
	691: {"UNKNOWN_ELEMENT_OF_ENUM", waybill.ClassPoison, "a value is not in the enum", hintRow},

	// The table is no longer what the plan was compiled for.
	7:   {"INCORRECT_NUMBER_OF_COLUMNS", waybill.ClassSchema, "the table's columns", hintTable},
	8:   {"THERE_IS_NO_COLUMN", waybill.ClassSchema, "the table's columns", hintTable},
	9:   {"SIZES_OF_COLUMNS_DOESNT_MATCH", waybill.ClassBug, "a block with columns of different length", ""},
	10:  {"NOT_FOUND_COLUMN_IN_BLOCK", waybill.ClassSchema, "the table's columns, or a view's", hintTable},
	16:  {"NO_SUCH_COLUMN_IN_TABLE", waybill.ClassSchema, "the table's columns", hintTable},
	20:  {"NUMBER_OF_COLUMNS_DOESNT_MATCH", waybill.ClassSchema, "the table's columns", hintTable},
	43:  {"ILLEGAL_TYPE_OF_ARGUMENT", waybill.ClassSchema, "an expression of the table or of a view", hintTable},
	44:  {"ILLEGAL_COLUMN", waybill.ClassSchema, "a column that cannot be inserted", hintTable},
	46:  {"UNKNOWN_FUNCTION", waybill.ClassSchema, "an expression of the table or of a view", hintTable},
	47:  {"UNKNOWN_IDENTIFIER", waybill.ClassSchema, "a column of the table or of a view", hintTable},
	50:  {"UNKNOWN_TYPE", waybill.ClassSchema, "a column type that the server does not have", hintTable},
	53:  {"TYPE_MISMATCH", waybill.ClassSchema, "a column's type cannot take the block's", hintTable},
	60:  {"UNKNOWN_TABLE", waybill.ClassSchema, "the table is gone", hintTable},
	70:  {"CANNOT_CONVERT_TYPE", waybill.ClassSchema, "a column's type cannot take the block's", hintTable},
	81:  {"UNKNOWN_DATABASE", waybill.ClassSchema, "the database is gone", hintTable},
	170: {"BAD_GET", waybill.ClassSchema, "types of an expression", hintTable},
	171: {"BLOCKS_HAVE_DIFFERENT_STRUCTURE", waybill.ClassSchema, "a view's columns", hintTable},
	352: {"AMBIGUOUS_COLUMN_NAME", waybill.ClassSchema, "a view's columns", hintTable},
	386: {"NO_COMMON_TYPE", waybill.ClassSchema, "a column's type cannot take the block's", hintTable},
	455: {"SUSPICIOUS_TYPE_FOR_LOW_CARDINALITY", waybill.ClassSchema, "a column type that the server refuses", hintTable},
	524: {"ALTER_OF_COLUMN_IS_FORBIDDEN", waybill.ClassSchema, "a column that may not change", hintTable},

	// A person has to act.
	48:  {"NOT_IMPLEMENTED", waybill.ClassConfig, "an engine that cannot do it", ""},
	62:  {"SYNTAX_ERROR", waybill.ClassBug, "a statement that we built", ""},
	115: {"UNKNOWN_SETTING", waybill.ClassConfig, "a server that lacks what we pin", "upgrade the server"},
	158: {"TOO_MANY_ROWS", waybill.ClassDenied, "a limit of the user's profile", hintLimit},
	307: {"TOO_MANY_BYTES", waybill.ClassDenied, "a limit of the user's profile", hintLimit},
	396: {"TOO_MANY_ROWS_OR_BYTES", waybill.ClassDenied, "a limit of the user's profile", hintLimit},
	164: {"READONLY", waybill.ClassDenied, "a read-only user", "use a user that may write and change settings"},
	192: {"UNKNOWN_USER", waybill.ClassDenied, "credentials; probed again, for they may be rotated", hintPassword},
	193: {"WRONG_PASSWORD", waybill.ClassDenied, "credentials; probed again, for they may be rotated", hintPassword},
	194: {"REQUIRED_PASSWORD", waybill.ClassDenied, "credentials; probed again, for they may be rotated", hintPassword},
	195: {"IP_ADDRESS_NOT_ALLOWED", waybill.ClassDenied, "the user's host list", "allow this host for the user"},
	291: {"DATABASE_ACCESS_DENIED", waybill.ClassDenied, "a missing grant", hintGrant},
	452: {"SETTING_CONSTRAINT_VIOLATION", waybill.ClassDenied, "a constraint of the user's profile", "relax the constraint that the message names"},
	472: {"READONLY_SETTING", waybill.ClassDenied, "a constraint of the user's profile", "relax the constraint that the message names"},
	497: {"ACCESS_DENIED", waybill.ClassDenied, "a missing grant", hintGrant},
	516: {"AUTHENTICATION_FAILED", waybill.ClassDenied, "credentials; probed again, for they may be rotated", hintPassword},
	720: {"USER_EXPIRED", waybill.ClassDenied, "credentials; probed again, for they may be renewed", hintPassword},
	903: {"LICENSE_EXPIRED", waybill.ClassDenied, "the server's licence", "renew the server's licence"},
}
