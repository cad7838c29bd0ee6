package conformance

import "slices"

// ClickHouseSuite is every case about ClickHouse inserts.
var ClickHouseSuite = Suite[ClickHouse]{
	Name:  "clickhouse",
	Want:  82,
	Cases: slices.Concat(tokenCases, blockCases, viewCases, surgeryCases, faultCases),
}
