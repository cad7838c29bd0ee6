package workload

// Vocabularies; skewed draws favour what comes first.
var (
	projects = []string{"acme", "globex", "initech", "umbrella", "hooli", "soylent", "stark", "wayne", "tyrell", "cyberdyne", "wonka",
		"zürich-lab", "aperture", "blackmesa", "oscorp", "massive", "pied-piper", "vandelay", "dunder", "sterling"}
	environments = []string{"prod", "staging", "dev"}
	providers    = []string{"openai", "anthropic", "google", "mistral", "self-hosted"}
	models       = []string{"gpt-4.1-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "gpt-4.1", "claude-haiku-4-5", "mistral-large-2411",
		"llama-3.3-70b-instruct"}
	tags      = []string{"interactive", "batch", "rag", "agent", "beta", "tier:gold", "eval", "nightly"}
	releases  = []string{"2026.11.3", "2026.11.2", "2026.11.1", "2026.10.9"}
	regions   = []string{"eu-west-1", "us-east-1", "ap-northeast-1"}
	kinds     = []string{"page_view", "click", "search", "add_to_cart", "purchase", "sign_in", "sign_out", "share"}
	countries = []string{"US", "DE", "JP", "FR", "BR", "IN", "GB", "CH", "SE", "ZA"}
	failures  = []string{
		"rate_limit_exceeded: retry after 2 s",
		"context_length_exceeded",
		"upstream timed out after 60000 ms",
		"content_filter: \"violence\"",
	}
	questions = []string{
		"How does offset management in Kafka work, exactly? Keep it short, please, and name the topic.",
		"Wie funktioniert die Offset-Verwaltung in Kafka genau? Bitte kurz erklären, mit Beispiel.",
		"Please summarise:\n\tRevenue grew 12 % to €4.2m; churn fell to 1.8 %.\n\tHeadcount: 41.",
		"東京の天気はどうですか? 明日の予報も教えてください。",
		"Why does this regexp not match? ^C:\\\\Users\\\\[a-z]+\\.txt$ -- it did yesterday.",
		"Write a haiku about a queue that never loses a message 🙂 and explain each line of it.",
		"Quel est le montant total de la facture n° 2026-0417, TVA comprise ? Réponds en une phrase.",
		"SELECT count() FROM orders WHERE status = \"open\" -- is slow, what can I do about it?",
	}
	answers = []string{
		"Each consumer group keeps one committed offset per partition in an internal topic; a member reads on from there.",
		"Kafka speichert pro Consumer-Gruppe und Partition den zuletzt bestätigten Offset im Topic __consumer_offsets.",
		"Revenue: €4.2m (+12 %).\nChurn: 1.8 %.\nHeadcount: 41.\nNo other figures were given in the text.",
		"明日は晴れ、最高気温は十八度の見込みです。傘は要りません。",
		"The backslash is escaped twice: once by the shell and once by the engine. Use \"\\\\\" once, in single quotes.",
		"Silent offsets march / each one counted, none is lost / the table agrees. The last line is the ledger's.",
		"Le total s'élève à 1 284,50 € TTC, dont 214,08 € de TVA, payable sous trente jours.",
		"Add a projection or put the column first in ORDER BY; as it is, every granule of the table is read.",
	}
)
