package column

import "errors"

// What becomes of a value, in the words of docs/reference/types.md.
const (
	exact      = "exact"
	rounded    = "rounded, counted"
	wrongKind  = "wrong_type"
	outOfRange = "out_of_range"
	fraction   = "not_an_integer"
	badFormat  = "bad_format"
)

// outcomeOf is what AppendJSON said in those words.
func outcomeOf(isExact bool, err error) string {
	for _, o := range []struct {
		err  error
		name string
	}{{ErrKind, wrongKind}, {ErrRange, outOfRange}, {ErrFraction, fraction}, {ErrFormat, badFormat}} {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	switch {
	case err != nil:
		return err.Error()
	case !isExact:
		return rounded
	}
	return exact
}

// entry is a type in the catalogue of types: a row of the document's table, and examples that both the columns and a server
// are asked about.
type entry struct {
	typ     string // as DESCRIBE writes it
	wire    string // how a row is sent
	keeps   string // what is preserved exactly
	rounds  string // what is rounded and counted; empty: nothing
	refuses string // what is an error
	show    string // the SQL that shows v; empty: toString(v)
	cases   []example
}

// example is one JSON value for a column.
type example struct {
	format string // of moments; "layout in zone" for a layout with a time zone
	json   string
	want   string // exact, rounded or the reason of the refusal
	shown  string // what the server shows, if it is not refused
}

// ok and cut are examples that are taken, no one that is refused.
func ok(json, shown string) example  { return example{json: json, want: exact, shown: shown} }
func cut(json, shown string) example { return example{json: json, want: rounded, shown: shown} }
func no(json, why string) example    { return example{json: json, want: why} }

// in is the same with a format.
func (e example) in(format string) example {
	e.format = format
	return e
}

const (
	integerRefuses = "a fraction; out of range; a string, unless the type has 64 bits or more"
	zeroPointOne   = "a number that a binary fraction cannot hold is the nearest one, as in any JSON parser: this is not counted"
)

var catalogue = []entry{
	{typ: "String", wire: "length as a varint, then the bytes", keeps: "every string, `\\u0000` too", refuses: "numbers, true, arrays: nothing is turned into text (a contract's `as: json` does that)",
		cases: []example{ok(`""`, ""), ok(`"hé"`, "hé"), no(`1`, wrongKind), no(`true`, wrongKind), no(`null`, wrongKind)}},
	{typ: "FixedString(3)", wire: "N bytes", keeps: "strings of up to N bytes; shorter ones are padded with zero bytes, which is how ClickHouse stores and compares them", refuses: "longer strings",
		show:  "hex(v)",
		cases: []example{ok(`"abc"`, "616263"), ok(`"a"`, "610000"), ok(`""`, "000000"), no(`"abcd"`, outOfRange), ok(`"é"`, "C3A900")}},
	{typ: "Int8", wire: "1 byte", keeps: "integers, also written as 1.0 or 1e2", refuses: integerRefuses,
		cases: []example{ok(`-128`, "-128"), ok(`127`, "127"), no(`128`, outOfRange), ok(`1.0`, "1"), ok(`-0`, "0"), ok(`1e2`, "100"), no(`1.5`, fraction), no(`"1"`, wrongKind), no(`true`, wrongKind)}},
	{typ: "Int16", wire: "2 bytes, little-endian", keeps: "as Int8", refuses: integerRefuses, cases: []example{ok(`-32768`, "-32768"), no(`32768`, outOfRange)}},
	{typ: "Int32", wire: "4 bytes", keeps: "as Int8", refuses: integerRefuses, cases: []example{ok(`-2147483648`, "-2147483648"), no(`2147483648`, outOfRange)}},
	{typ: "Int64", wire: "8 bytes", keeps: "as Int8; also strings that hold a number", refuses: integerRefuses,
		cases: []example{ok(`9007199254740993`, "9007199254740993"), ok(`"-9223372036854775808"`, "-9223372036854775808"), no(`9223372036854775808`, outOfRange),
			no(`""`, badFormat), no(`"0x10"`, badFormat), no(`" 1"`, badFormat), no(`1e-1`, fraction)}},
	{typ: "Int128", wire: "16 bytes", keeps: "as Int64", refuses: integerRefuses,
		cases: []example{ok(`-170141183460469231731687303715884105728`, "-170141183460469231731687303715884105728"), no(`170141183460469231731687303715884105728`, outOfRange), ok(`1e38`, "100000000000000000000000000000000000000")}},
	{typ: "Int256", wire: "32 bytes", keeps: "as Int64", refuses: integerRefuses,
		cases: []example{ok(`"57896044618658097711785492504343953926634992332820282019728792003956564819967"`, "57896044618658097711785492504343953926634992332820282019728792003956564819967"),
			ok(`-1.50e1`, "-15"), no(`1e77`, outOfRange)}},
	{typ: "UInt8", wire: "1 byte", keeps: "as Int8", refuses: integerRefuses + "; negative numbers", cases: []example{ok(`255`, "255"), no(`256`, outOfRange), no(`-1`, outOfRange), ok(`-0.0`, "0")}},
	{typ: "UInt16", wire: "2 bytes", keeps: "as Int8", refuses: integerRefuses + "; negative numbers", cases: []example{ok(`65535`, "65535"), no(`65536`, outOfRange)}},
	{typ: "UInt32", wire: "4 bytes", keeps: "as Int8", refuses: integerRefuses + "; negative numbers", cases: []example{ok(`4294967295`, "4294967295"), no(`4294967296`, outOfRange)}},
	{typ: "UInt64", wire: "8 bytes", keeps: "as Int64", refuses: integerRefuses + "; negative numbers",
		cases: []example{ok(`18446744073709551615`, "18446744073709551615"), ok(`"18446744073709551615"`, "18446744073709551615"), no(`18446744073709551616`, outOfRange)}},
	{typ: "UInt128", wire: "16 bytes", keeps: "as Int64", refuses: integerRefuses + "; negative numbers",
		cases: []example{ok(`340282366920938463463374607431768211455`, "340282366920938463463374607431768211455"), no(`340282366920938463463374607431768211456`, outOfRange), no(`-1`, outOfRange)}},
	{typ: "UInt256", wire: "32 bytes", keeps: "as Int64", refuses: integerRefuses + "; negative numbers",
		cases: []example{ok(`115792089237316195423570985008687907853269984665640564039457584007913129639935`, "115792089237316195423570985008687907853269984665640564039457584007913129639935"),
			no(`115792089237316195423570985008687907853269984665640564039457584007913129639936`, outOfRange)}},
	{typ: "Float64", wire: "8 bytes, IEEE 754", keeps: "the nearest float; the sign of -0; " + zeroPointOne, rounds: "an integer that the float cannot hold", refuses: "too large: 1e400; a string; nan and inf, which JSON has not",
		cases: []example{ok(`0.1`, "0.1"), ok(`-0`, "-0"), ok(`1e308`, "1e308"), no(`1e400`, outOfRange), ok(`1e-400`, "0"), ok(`9007199254740992`, "9007199254740992"),
			cut(`9007199254740993`, "9007199254740992"), ok(`9007199254740993.0`, "9007199254740992"), ok(`100000000000000000000`, "100000000000000000000"), no(`"1.5"`, wrongKind)}},
	{typ: "Float32", wire: "4 bytes, IEEE 754", keeps: "as Float64", rounds: "an integer that the float cannot hold", refuses: "too large: 1e39; a string",
		cases: []example{ok(`0.1`, "0.1"), ok(`16777216`, "16777216"), cut(`16777217`, "16777216"), ok(`-0.0`, "-0"), no(`1e39`, outOfRange)}},
	{typ: "BFloat16", wire: "2 bytes: the upper half of a Float32", keeps: "as Float64, with 8 bits of mantissa", rounds: "an integer that the float cannot hold", refuses: "too large: 3.4e38; a string",
		cases: []example{ok(`1.5`, "1.5"), ok(`256`, "256"), cut(`257`, "256"), cut(`259`, "260"), ok(`1.01171875`, "1.015625"), ok(`1.011718749999999999999999999999`, "1.0078125"), no(`3.4e38`, outOfRange), ok(`-0`, "-0")}},
	{typ: "Decimal(9, 1)", wire: "4, 8, 16 or 32 bytes by P up to 9, 18, 38, 76: the number times 10^S", keeps: "up to S decimal places, exactly from the digits as written; also strings that hold a number", rounds: "further places, half to even", refuses: "10^(P-S) and more",
		cases: []example{ok(`0.1`, "0.1"), ok(`"0.1"`, "0.1"), ok(`1e2`, "100"), cut(`0.25`, "0.2"), cut(`0.35`, "0.4"), cut(`-0.25`, "-0.2"), cut(`0.250000000000000000000000000001`, "0.3"), cut(`1e-30`, "0"),
			ok(`99999999.9`, "99999999.9"), no(`100000000`, outOfRange), no(`99999999.95`, outOfRange), ok(`-0`, "0"), no(`"1,5"`, badFormat), no(`true`, wrongKind)}},
	{typ: "Decimal(18, 18)", wire: "8 bytes", keeps: "as above", rounds: "as above", refuses: "as above", cases: []example{ok(`0.123456789012345678`, "0.123456789012345678"), no(`1`, outOfRange)}},
	{typ: "Decimal(38, 2)", wire: "16 bytes", keeps: "as above", rounds: "as above", refuses: "as above",
		cases: []example{ok(`-999999999999999999999999999999999999.99`, "-999999999999999999999999999999999999.99"), no(`1e36`, outOfRange)}},
	{typ: "Decimal(76, 10)", wire: "32 bytes", keeps: "as above", rounds: "as above", refuses: "as above",
		cases: []example{ok(`123456789012345678901234567890123456789012345678901234567890.0123456789`, "123456789012345678901234567890123456789012345678901234567890.0123456789"), cut(`0.00000000005`, "0")}},
	{typ: "Bool", wire: "1 byte", keeps: "true and false", refuses: "everything else: 1 and \"true\" are no truth values", cases: []example{ok(`true`, "true"), ok(`false`, "false"), no(`1`, wrongKind), no(`"true"`, wrongKind)}},
	{typ: "UUID", wire: "two little-endian halves of 8 bytes, the high one first", keeps: "8-4-4-4-12 hexadecimal digits of either case", refuses: "other forms: without hyphens, in braces, urn:uuid:",
		cases: []example{ok(`"00112233-4455-6677-8899-AABBCCDDEEFF"`, "00112233-4455-6677-8899-aabbccddeeff"), no(`"00112233445566778899aabbccddeeff"`, badFormat),
			no(`"{00112233-4455-6677-8899-aabbccddeeff}"`, badFormat), no(`"urn:uuid:00112233-4455-6677-8899-aabbccddeeff"`, badFormat), no(`""`, badFormat)}},
	{typ: "IPv4", wire: "4 bytes, little-endian", keeps: "four numbers with dots", refuses: "leading zeros, which some read as octal; fewer numbers; IPv6, also IPv4-mapped; numbers",
		cases: []example{ok(`"192.0.2.1"`, "192.0.2.1"), no(`"192.0.2.01"`, badFormat), no(`"192.0.2"`, badFormat), no(`"192.0.2.256"`, badFormat), no(`"::ffff:192.0.2.1"`, badFormat), no(`3221225985`, wrongKind)}},
	{typ: "IPv6", wire: "16 bytes, network order", keeps: "all text forms; IPv4 as its IPv4-mapped address, as ClickHouse does", refuses: "zones (`%eth0`); ports; brackets",
		cases: []example{ok(`"2001:DB8:0:0::1"`, "2001:db8::1"), ok(`"::ffff:192.0.2.1"`, "::ffff:192.0.2.1"), ok(`"192.0.2.1"`, "::ffff:192.0.2.1"), no(`"fe80::1%eth0"`, badFormat), no(`"[::1]"`, badFormat), no(`""`, badFormat)}},
	{typ: "Date", wire: "2 bytes: days since 1970-01-01", keeps: "dates from 1970-01-01 to 2149-06-06; of a time with an offset, the date as it is written; of a number, the date in UTC", rounds: "a time of day other than midnight is cut", refuses: "dates outside the range; other forms",
		cases: []example{ok(`"2026-11-22"`, "2026-11-22"), ok(`"2149-06-06"`, "2149-06-06"), no(`"2149-06-07"`, outOfRange), no(`"1969-12-31"`, outOfRange), ok(`"2026-11-22T00:00:00-05:00"`, "2026-11-22"),
			cut(`"2026-11-22T23:30:00-05:00"`, "2026-11-22"), no(`"2026-02-29"`, badFormat), no(`"22.11.2026"`, badFormat), no(`20000`, wrongKind),
			cut(`1795358687`, "2026-11-22").in("unix"), ok(`1795305600000`, "2026-11-22").in("unix_ms"), ok(`"22.11.2026"`, "2026-11-22").in("%d.%m.%Y"), ok(`"20261122"`, "2026-11-22").in("%Y%m%d"), cut(`"2026-11-22 01"`, "2026-11-22").in("%Y-%m-%d %H")}},
	{typ: "Date32", wire: "4 bytes: days since 1970-01-01, with a sign", keeps: "dates from 1900-01-01 to 2299-12-31; as Date", rounds: "as Date", refuses: "as Date",
		cases: []example{ok(`"1900-01-01"`, "1900-01-01"), ok(`"2299-12-31"`, "2299-12-31"), no(`"1899-12-31"`, outOfRange), no(`"2300-01-01"`, outOfRange), ok(`-86400`, "1969-12-31").in("unix"), cut(`-1`, "1969-12-31").in("unix")}},
	{typ: "DateTime('UTC')", wire: "4 bytes: seconds since 1970", keeps: "moments from 1970 to 2106-02-07T06:28:15Z", rounds: "fractions of a second are cut towards the past", refuses: "moments outside the range; a time without an offset; leap seconds",
		cases: []example{ok(`"2026-11-22T14:44:47Z"`, "2026-11-22 14:44:47"), ok(`"2026-11-22T14:44:47+05:30"`, "2026-11-22 09:14:47"), cut(`"2026-11-22T14:44:47.999Z"`, "2026-11-22 14:44:47"),
			no(`"2106-02-07T06:28:16Z"`, outOfRange), no(`"1969-12-31T23:59:59Z"`, outOfRange), no(`"2026-11-22T14:44:47"`, badFormat), no(`"2026-11-22 14:44:47Z"`, badFormat), no(`"2016-12-31T23:59:60Z"`, badFormat),
			ok(`1795358687`, "2026-11-22 14:44:47").in("unix"), ok(`"1795358687"`, "2026-11-22 14:44:47").in("unix"), cut(`1795358687.5`, "2026-11-22 14:44:47").in("unix"), no(`"2026-11-22T14:44:47Z"`, badFormat).in("unix"), no(`1795358687`, wrongKind),
			ok(`"2026-11-22 14:44:47"`, "2026-11-22 13:44:47").in("%F %T in Europe/Berlin"), no(`"2026-10-25 02:30:00"`, badFormat).in("%F %T in Europe/Berlin"), no(`"2026-03-29 02:30:00"`, badFormat).in("%F %T in Europe/Berlin"),
			ok(`"22/Nov/2026:14:44:47 +0100"`, "2026-11-22 13:44:47").in("%d/%b/%Y:%H:%M:%S %z"), ok(`"Sun Nov 22 2:44 pm 2026"`, "2026-11-22 14:44:00").in("%a %b %d %I:%M %p %Y in UTC"), no(`"Mon Nov 22 2:44 pm 2026"`, badFormat).in("%a %b %d %I:%M %p %Y in UTC")}},
	{typ: "DateTime64(3, 'UTC')", wire: "8 bytes: ticks of 10^-P seconds since 1970", keeps: "moments from 1900 to 2299 (P = 9: 2262-04-11T23:47:16.854775807Z)", rounds: "further digits are cut towards the past", refuses: "as DateTime",
		cases: []example{ok(`"2026-11-22T14:44:47.123Z"`, "2026-11-22 14:44:47.123"), ok(`"2026-11-22T14:44:47.123000000Z"`, "2026-11-22 14:44:47.123"), cut(`"2026-11-22T14:44:47.123456789Z"`, "2026-11-22 14:44:47.123"), cut(`"1969-12-31T23:59:59.9999Z"`, "1969-12-31 23:59:59.999"),
			no(`"1899-12-31T23:59:59.999Z"`, outOfRange), no(`"2300-01-01T00:00:00Z"`, outOfRange), ok(`1795358687.123`, "2026-11-22 14:44:47.123").in("unix"), ok(`1795358687123`, "2026-11-22 14:44:47.123").in("unix_ms"),
			no(`1795358687123`, outOfRange).in("unix"), cut(`1795358687123456`, "2026-11-22 14:44:47.123").in("unix_us"), ok(`"2026-11-22T14:44:47,123"`, "2026-11-22 14:44:47.123").in("%FT%T,%f in UTC")}},
	{typ: "DateTime64(9, 'UTC')", wire: "8 bytes", keeps: "as above", rounds: "as above", refuses: "as above",
		cases: []example{ok(`1795358687123456789`, "2026-11-22 14:44:47.123456789").in("unix_ns"), ok(`"1795358687123456789"`, "2026-11-22 14:44:47.123456789").in("unix_ns"), no(`"2262-04-11T23:47:16.854775808Z"`, outOfRange)}},
	{typ: "Time", wire: "4 bytes: seconds, with a sign", keeps: "[-]HH:MM:SS or with three digits of hours, to 999:59:59 either way; in a Unix format, a number of seconds (milliseconds, ...)", rounds: "fractions of a second are cut downwards", refuses: "out of range; other forms; a date beside it",
		cases: []example{ok(`"12:34:56"`, "12:34:56"), ok(`"-999:59:59"`, "-999:59:59"), cut(`"12:34:56.7"`, "12:34:56"), cut(`"-00:00:00.5"`, "-00:00:01"), no(`"1:2:3"`, badFormat), no(`"24:60:00"`, badFormat), no(`"2026-11-22T12:34:56Z"`, badFormat),
			ok(`90`, "00:01:30").in("unix"), no(`3600000`, outOfRange).in("unix"), ok(`"2:34 PM"`, "14:34:00").in("%I:%M %p")}},
	{typ: "Time64(3)", wire: "8 bytes: ticks of 10^-P seconds", keeps: "as Time, with P decimal places", rounds: "further digits are cut downwards", refuses: "as Time",
		cases: []example{ok(`"12:34:56.789"`, "12:34:56.789"), cut(`"12:34:56.7899"`, "12:34:56.789"), ok(`"-999:59:59.999"`, "-999:59:59.999"), ok(`1500`, "00:00:01.500").in("unix_ms")}},
	{typ: "Enum8('a' = 1, 'b' = -2)", wire: "1 byte: the value (Enum16: 2)", keeps: "the names", refuses: "other names; the numbers, which are how the table stores the names and may change under them",
		cases: []example{ok(`"b"`, "b"), no(`"c"`, outOfRange), no(`1`, wrongKind), no(`"1"`, outOfRange)}},
	{typ: "Enum16('a' = 300)", wire: "2 bytes", keeps: "as Enum8", refuses: "as Enum8", cases: []example{ok(`"a"`, "a")}},
	{typ: "Nullable(Int64)", wire: "a byte per row that marks NULL, then T", keeps: "null, and what T keeps", rounds: "as T", refuses: "as T", cases: []example{ok(`null`, "NULL"), ok(`1`, "1"), no(`"x"`, badFormat)}},
	{typ: "LowCardinality(String)", wire: "a dictionary in order of first use, then an index a row; of a T other than String, as T, and the server makes the dictionary", keeps: "as T", rounds: "as T", refuses: "as T", cases: []example{ok(`"a"`, "a"), ok(`"b"`, "b"), ok(`"a"`, "a"), no(`1`, wrongKind)}},
	{typ: "LowCardinality(Nullable(String))", wire: "likewise; index 0 is NULL", keeps: "null, and what T keeps", rounds: "as T", refuses: "as T", cases: []example{ok(`null`, "NULL"), ok(`""`, ""), ok(`"null"`, "null")}},
	{typ: "LowCardinality(FixedString(2))", wire: "as FixedString(2)", keeps: "as T", refuses: "as T", show: "hex(v)", cases: []example{ok(`"ab"`, "6162"), no(`"abc"`, outOfRange)}},
	{typ: "LowCardinality(Nullable(Date))", wire: "as Nullable(Date)", keeps: "as T", rounds: "as T", refuses: "as T", cases: []example{ok(`"2026-11-22"`, "2026-11-22"), ok(`null`, "NULL")}},
	{typ: "Array(Float32)", wire: "8 bytes a row: where its elements end; then all elements", keeps: "arrays, the elements as T", rounds: "as T", refuses: "an array with an element that T refuses; null, as ClickHouse has no Nullable(Array)",
		cases: []example{ok(`[]`, "[]"), ok(`[0.5, -1]`, "[0.5,-1]"), cut(`[16777217]`, "[16777216]"), no(`[1, "x"]`, wrongKind), no(`[null]`, wrongKind), no(`null`, wrongKind), no(`{}`, wrongKind)}},
	{typ: "Map(String, UInt64)", wire: "as an Array of keys and one of values", keeps: "objects, in their order; keys of other types (integers, Decimals, dates, UUID, ...) are read from the member's name", rounds: "as K and V", refuses: "a pair that K or V refuses",
		cases: []example{ok(`{}`, "{}"), ok(`{"b": 1, "a": "2"}`, "{'b':1,'a':2}"), no(`[]`, wrongKind), no(`{"a": -1}`, outOfRange)}},
	{typ: "Map(UInt32, Bool)", wire: "likewise", keeps: "as above", refuses: "as above", cases: []example{ok(`{"7": true}`, "{7:true}"), no(`{"x": true}`, badFormat), no(`{"4294967296": true}`, outOfRange)}},
	{typ: "Map(Date, Decimal(9, 2))", wire: "likewise", keeps: "as above", rounds: "as above", refuses: "as above", cases: []example{ok(`{"2026-11-22": 1.25}`, "{'2026-11-22':1.25}"), cut(`{"2026-11-22": 1.255}`, "{'2026-11-22':1.26}")}},
	{typ: "Tuple(Int8, String)", wire: "its elements one after the other", keeps: "arrays of as many elements; a named Tuple also objects", rounds: "as the elements", refuses: "more or fewer elements",
		cases: []example{ok(`[1, "a"]`, "(1,'a')"), no(`[1]`, badFormat), no(`[1, "a", 2]`, badFormat), no(`{"1": 1}`, wrongKind)}},
	{typ: "Tuple(lat Float64, `l n` Nullable(Float64))", wire: "likewise", keeps: "objects with a member for each element, in any order, or arrays", rounds: "as the elements", refuses: "other members or missing ones",
		cases: []example{ok(`{"l n": null, "lat": 1.5}`, "(1.5,NULL)"), ok(`[1.5, 2]`, "(1.5,2)"), no(`{"lat": 1.5}`, badFormat), no(`{"lat": 1, "l n": 2, "x": 3}`, badFormat), no(`{"lat": 1, "lat": 2}`, badFormat)}},
	{typ: "Nested(k String, n UInt8)", wire: "as Array(Tuple(...)) (a table with `flatten_nested = 1` has a column `n.k Array(...)` for each element instead)", keeps: "arrays of objects", rounds: "as the elements", refuses: "as Array and Tuple",
		cases: []example{ok(`[{"k": "a", "n": 1}, ["b", 2]]`, "[('a',1),('b',2)]"), ok(`[]`, "[]"), no(`{"k": ["a"]}`, wrongKind)}},
	{typ: "Point", wire: "as Tuple(Float64, Float64)", keeps: "arrays of two numbers", refuses: "objects; null", cases: []example{ok(`[1.5, -2]`, "(1.5,-2)"), no(`{"x": 1, "y": 2}`, wrongKind)}},
	{typ: "Ring", wire: "as Array(Point)", keeps: "arrays of Points", refuses: "as Array", cases: []example{ok(`[[0, 0], [1, 1]]`, "[(0,0),(1,1)]")}},
	{typ: "LineString", wire: "as Array(Point)", keeps: "as Ring", refuses: "as Array", cases: []example{ok(`[[0, 0]]`, "[(0,0)]")}},
	{typ: "MultiLineString", wire: "as Array(LineString)", keeps: "arrays of LineStrings", refuses: "as Array", cases: []example{ok(`[[[0, 0]], []]`, "[[(0,0)],[]]")}},
	{typ: "Polygon", wire: "as Array(Ring)", keeps: "arrays of Rings", refuses: "as Array", cases: []example{ok(`[[[0, 0], [1, 1]]]`, "[[(0,0),(1,1)]]")}},
	{typ: "MultiPolygon", wire: "as Array(Polygon)", keeps: "arrays of Polygons", refuses: "as Array", cases: []example{ok(`[[[[0, 0]]]]`, "[[[(0,0)]]]")}},
	{typ: "SimpleAggregateFunction(sum, UInt64)", wire: "as T", keeps: "as T", rounds: "as T", refuses: "as T", cases: []example{ok(`7`, "7"), no(`-1`, outOfRange)}},
	{typ: "JSON", wire: "the object's text; the server parses it", keeps: "the text up to the server, which parses it by its own rules (it drops nulls, keeps fractions as Float64, and takes texts that look like dates for dates)",
		refuses: "anything but an object; integers beyond 64 bits and floats beyond a Float64 in it, which the server's parser does not take. What only the server can tell (a value that does not fit a typed path, `{\"a.b\": 1, \"a\": {\"b\": 2}}`) it refuses with the block",
		cases: []example{ok(`{}`, `{}`), ok(`{"b":{"c":[1,2.5]},"a":"x","n":null}`, `{"a":"x","b":{"c":[1,2.5]}}`), no(`[1]`, wrongKind), no(`"x"`, wrongKind), no(`null`, wrongKind), no(`{"a":1,"a":2}`, badFormat),
			ok(`{"a":18446744073709551615,"b":-9223372036854775808,"c":1e308,"d":"1e400 \" 1e400"}`, `{"a":18446744073709551615,"b":-9223372036854775808,"c":1e308,"d":"1e400 \" 1e400"}`),
			no(`{"a":18446744073709551616}`, outOfRange), no(`{"a":[-9223372036854775809]}`, outOfRange), no(`{"a":1e400}`, outOfRange)}},
	{typ: "JSON(max_dynamic_paths=8, `a.b` UInt32)", wire: "likewise", keeps: "as JSON", refuses: "as JSON", cases: []example{ok(`{"a":{"b":7},"c":true}`, `{"a":{"b":7},"c":true}`)}},
	{typ: "Nullable(JSON)", wire: "likewise, after the marks of NULL", keeps: "as JSON; null", refuses: "as JSON", cases: []example{ok(`null`, "NULL"), ok(`{"a":1}`, `{"a":1}`)}},
	{typ: "Variant(Array(UInt64), Bool, Float64, String)", wire: "a byte a row that says which member, then the members",
		keeps:  "the value in the first member that takes it exactly: String, then integers, Decimals, floats, arrays by their elements likewise, then others in the order of their names; null",
		rounds: "a value that no member takes exactly, as the first that takes it rounded", refuses: "a value that no member takes", show: "if(v IS NULL, 'NULL', concat(toString(v), ' as ', toString(variantType(v))))",
		cases: []example{ok(`"12"`, "12 as String"), ok(`12`, "12 as Float64"), ok(`true`, "true as Bool"), ok(`[1, 2]`, "[1,2] as Array(UInt64)"), ok(`null`, "NULL"), cut(`9007199254740993`, "9007199254740992 as Float64"), no(`{}`, wrongKind), no(`[1.5]`, fraction), no(`1e400`, outOfRange)}},
	{typ: "Dynamic", wire: "the names of the types in use, then as a Variant of them", keeps: "strings as String, true and false as Bool, numbers as Int64, UInt64 or Float64, objects as JSON, arrays of one of these as an Array of it (of a Nullable, but for objects); null",
		rounds: "an integer beyond 64 bits, as Float64", refuses: "arrays of mixed kinds, arrays of arrays; too large: 1e400", show: "if(v IS NULL, 'NULL', concat(toString(v), ' as ', dynamicType(v)))",
		cases: []example{ok(`"12"`, "12 as String"), ok(`"2026-11-22"`, "2026-11-22 as String"), ok(`-1`, "-1 as Int64"), ok(`18446744073709551615`, "18446744073709551615 as UInt64"), ok(`1.5`, "1.5 as Float64"), ok(`1.0`, "1 as Int64"), cut(`100000000000000000000001`, "1.0000000000000001e23 as Float64"),
			ok(`false`, "false as Bool"), ok(`{"a":1}`, `{"a":1} as JSON`), ok(`[1,null]`, "[1,NULL] as Array(Nullable(Int64))"), ok(`[1,2.5]`, "[1,2.5] as Array(Nullable(Float64))"), ok(`["a"]`, "['a'] as Array(Nullable(String))"), ok(`[true]`, "[true] as Array(Nullable(Bool))"),
			ok(`[{"a":1}]`, `['{"a":1}'] as Array(JSON)`), ok(`null`, "NULL"), no(`[1,"a"]`, wrongKind), no(`[[1]]`, wrongKind), no(`1e400`, outOfRange)}},
}
