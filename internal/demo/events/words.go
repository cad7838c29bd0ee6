package events

// model is priced in nano-dollars per token.
type model struct {
	name, provider          string
	inputPrice, outputPrice int64
}

var (
	models = []model{
		{"gpt-4.1-mini", "openai", 400, 1600},
		{"claude-sonnet-4-5", "anthropic", 3000, 15000},
		{"gemini-2.5-flash", "google", 300, 2500},
		{"gpt-4.1", "openai", 2000, 8000},
		{"claude-haiku-4-5", "anthropic", 1000, 5000},
		{"mistral-large-2411", "mistral", 2000, 6000},
		{"llama-3.3-70b-instruct", "self-hosted", 200, 200},
	}
	tenants      = []string{"acme", "globex", "initech", "umbrella", "hooli", "soylent", "stark", "wayne", "tyrell", "cyberdyne", "wonka", "zürich-lab"}
	environments = []string{"prod", "prod", "staging", "dev"}
	releases     = []string{"2026.11.3", "2026.11.2", "2026.11.1", "2026.10.9"}
	tags         = []string{"eu-west-1", "us-east-1", "batch", "interactive", "rag", "agent", "beta", "tier:gold"}
	failures     = []string{
		"rate_limit_exceeded: retry after 2 s",
		"context_length_exceeded",
		"upstream timed out after 60000 ms",
		"content_filter: \"violence\"",
	}
	systems = []string{
		"You are a helpful assistant. Answer in one paragraph.\nCite \"sources\".",
		"You are a support agent of a bank. Never reveal account numbers.",
		"Extract the fields as JSON: {\"name\": string, \"amount\": number}.",
		"Translate what follows into English. Keep names, numbers and line breaks.",
	}
	questions = []string{
		"How does offset management in Kafka work, exactly? Keep it short, please.",
		"Wie funktioniert die Offset-Verwaltung in Kafka genau? Bitte kurz erklären.",
		"Please summarise:\n\tRevenue grew 12 % to €4.2m; churn fell to 1.8 %.\n\tHeadcount: 41.",
		"東京の天気はどうですか? 明日の予報も教えてください。",
		"Why does this regexp not match? ^C:\\\\Users\\\\[a-z]+\\.txt$",
		"Write a haiku about a queue that never loses a message 🙂",
		"Quel est le montant total de la facture n° 2026-0417, TVA comprise ?",
		"SELECT count() FROM orders WHERE status = \"open\" -- is slow, what can I do?",
	}
	answers = []string{
		"Each consumer group keeps one committed offset per partition in an internal topic; a member reads on from there.",
		"Kafka speichert pro Consumer-Gruppe und Partition den zuletzt bestätigten Offset im Topic __consumer_offsets.",
		"Revenue: €4.2m (+12 %).\nChurn: 1.8 %.\nHeadcount: 41.",
		"明日は晴れ、最高気温は十八度の見込みです。",
		"The backslash is escaped twice: once by the shell and once by the engine. Use \"\\\\\" once.",
		"Silent offsets march / each one counted, none is lost / the table agrees",
		"Le total s'élève à 1 284,50 € TTC, dont 214,08 € de TVA.",
		"Add a projection or put the column first in ORDER BY; as it is, every granule is read.",
	}
)
