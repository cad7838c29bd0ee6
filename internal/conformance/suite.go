package conformance

import "slices"

// ClickHouseSuite is every case about ClickHouse inserts.
var ClickHouseSuite = Suite[ClickHouse]{
	Name:  "clickhouse",
	Want:  88,
	Cases: slices.Concat(tokenCases, blockCases, viewCases, surgeryCases, faultCases),
}

// KafkaSuite is every case about groups, offsets and logs.
var KafkaSuite = Suite[Kafka]{
	Name:  "kafka",
	Want:  38,
	Cases: slices.Concat(commitCases, groupCases, logCases),
}
