package json

import (
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// oneOfEach are types of every kind, nested ones included. Those that this tree has no columns for yet
// are left out.
func oneOfEach() []string {
	types := []string{
		"String", "Nullable(String)", "LowCardinality(String)", "LowCardinality(Nullable(String))",
		"Bool", "Nullable(Bool)", "UUID", "Nullable(UUID)",
		"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Nullable(Int64)", "Nullable(UInt8)",
		"Float32", "Float64", "Nullable(Float64)",
		"DateTime", "DateTime64(0)", "DateTime64(3)", "DateTime64(6)", "DateTime64(9)", "Nullable(DateTime64(3, 'UTC'))",
		"Enum8('x' = -5, 'y z' = 1, 'it''s' = 2)", "Enum16('x' = 300, 'a' = -1)",
		"Array(String)", "Array(LowCardinality(String))", "Array(Nullable(Int64))", "Array(Array(Nullable(Int32)))",
		"Array(DateTime64(3))", "Array(Float32)", "Array(Bool)", "Array(Map(String, String))",
		"Map(String, String)", "Map(LowCardinality(String), UInt64)", "Map(String, Array(String))",
		"Map(String, Map(String, Nullable(Float64)))", "Map(String, LowCardinality(Nullable(String)))",
		"Int128", "Int256", "UInt128", "UInt256", "Nullable(UInt256)", "Array(Int128)",
		"Decimal(1, 0)", "Decimal(9, 2)", "Decimal(18, 18)", "Decimal(38, 10)", "Decimal(76, 5)", "Nullable(Decimal(20, 4))",
		"IPv4", "IPv6", "Nullable(IPv4)", "FixedString(3)", "Nullable(FixedString(16))", "Date", "Date32", "Nullable(Date)",
		"LowCardinality(UInt16)", "LowCardinality(Nullable(Date))", "LowCardinality(FixedString(2))", "Array(LowCardinality(Nullable(Float64)))",
	}
	return known(types)
}

// known are the types that this tree has columns for.
func known(types []string) []string {
	return slices.DeleteFunc(types, func(typ string) bool {
		_, err := column.ParseType(typ)
		return err != nil
	})
}

// everyType are columns of all types over one path, moments in every format.
func everyType(path string, onInvalid contract.Policy) []contract.Column {
	var columns []contract.Column
	for i, typ := range oneOfEach() {
		c := contract.Column{Name: fmt.Sprintf("%s c%d", path, i), Type: typ, From: path, OnInvalid: onInvalid}
		columns = append(columns, c)
	}
	for i, typ := range known([]string{"DateTime", "DateTime64(0)", "DateTime64(3)", "DateTime64(9)", "Array(DateTime64(6))", "Date", "Date32"}) {
		for _, format := range []string{"unix", "unix_ms", "unix_us", "unix_ns"} {
			columns = append(columns, contract.Column{Name: fmt.Sprintf("%s %s%d", path, format, i), Type: typ,
				From: path, Format: format, OnInvalid: onInvalid})
		}
	}
	return append(columns,
		contract.Column{Name: path + " raw", Type: "String", From: path, As: "json", OnInvalid: onInvalid},
		contract.Column{Name: path + " rawnull", Type: "Nullable(String)", From: path, As: "json", OnInvalid: onInvalid},
		contract.Column{Name: path + " rawlow", Type: "LowCardinality(String)", From: path, As: "json", OnInvalid: onInvalid})
}

// corpusPlans are the plans that every text of the corpus is decoded under.
func corpusPlans(t testing.TB) []*judge {
	t.Helper()
	return []*judge{
		newJudge(t, "no columns", contract.Contract{}),
		newJudge(t, "freeze", contract.Contract{NewFields: contract.Modes{Default: contract.ModeFreeze}, Columns: []contract.Column{
			{Name: "v", Type: "String", As: "json"}, {Name: "a", Type: "String", As: "json"}}}),
		newJudge(t, "strict", contract.Contract{Columns: fuzzColumns(contract.DeadLetter), NewFields: contract.Modes{Default: contract.ModeFreeze}}),
		newJudge(t, "lenient", contract.Contract{Columns: fuzzColumns(contract.Default)}),
		newJudge(t, "every type", contract.Contract{Columns: append(everyType("v", contract.Default), everyType("a.v", contract.Default)...)}),
		newJudge(t, "nested", contract.Contract{Columns: []contract.Column{
			{Name: "whole", Type: "Nullable(String)", From: "a", As: "json"},
			{Name: "part", Type: "String", From: "a.b", As: "json"},
			{Name: "leaf", Type: "Nullable(String)", From: "a.b.c", OnInvalid: contract.Null},
			{Name: "deep", Type: "Array(String)", From: "a.b.c.d", OnInvalid: contract.Default},
			{Name: "other", Type: "UInt64", From: "a.v", OnInvalid: contract.Default},
			{Name: "empty", Type: "String", From: "``", As: "json"},
			{Name: "map", Type: "Map(String, String)", From: "a", OnInvalid: contract.Default}}}),
		newJudge(t, "llm", contract.Contract{Columns: llmCall()}),
	}
}
