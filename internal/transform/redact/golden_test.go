package redact

const (
	goldenEmpty = ""
	goldenEmail = ""
)
