package child

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// rows decode an event of each workload into the arguments of Append.
var rows = map[string]func(value []byte) ([]any, error){"llm": llmRow, "small": smallRow}

type llmEvent struct {
	ID           uuid.UUID         `json:"id"`
	Timestamp    time.Time         `json:"timestamp"`
	ProjectID    string            `json:"project_id"`
	Environment  string            `json:"environment"`
	Provider     string            `json:"provider"`
	Model        string            `json:"model"`
	Status       string            `json:"status"`
	Prompt       string            `json:"prompt"`
	Completion   string            `json:"completion"`
	InputTokens  uint32            `json:"input_tokens"`
	OutputTokens uint32            `json:"output_tokens"`
	LatencyMS    uint32            `json:"latency_ms"`
	Temperature  float32           `json:"temperature"`
	CostUSD      float64           `json:"cost_usd"`
	Tags         []string          `json:"tags"`
	Metadata     map[string]string `json:"metadata"`
	TTFTMS       *uint32           `json:"ttft_ms"`
	UserScore    *float32          `json:"user_score"`
	Error        *string           `json:"error"`
}

func llmRow(value []byte) ([]any, error) {
	var e llmEvent
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, err
	}
	return []any{e.ID, e.Timestamp, e.ProjectID, e.Environment, e.Provider, e.Model, e.Status, e.Prompt, e.Completion,
		e.InputTokens, e.OutputTokens, e.LatencyMS, e.Temperature, e.CostUSD, e.Tags, e.Metadata, e.TTFTMS, e.UserScore, e.Error}, nil
}

type smallEvent struct {
	TS         time.Time `json:"ts"`
	UserID     uint64    `json:"user_id"`
	Kind       string    `json:"kind"`
	Path       string    `json:"path"`
	Country    string    `json:"country"`
	DurationMS uint32    `json:"duration_ms"`
	Value      float64   `json:"value"`
	Premium    bool      `json:"premium"`
}

func smallRow(value []byte) ([]any, error) {
	var e smallEvent
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, err
	}
	return []any{e.TS, e.UserID, e.Kind, e.Path, e.Country, e.DurationMS, e.Value, e.Premium}, nil
}
