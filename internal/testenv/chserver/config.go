package chserver

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// User is an account besides `default`.
type User struct {
	Name     string
	Password string // empty: none
	// Settings are its profile: setting name to value.
	Settings map[string]string
	// ReadOnly are settings that the profile forbids to change.
	ReadOnly []string
	// Grants are statements such as "GRANT SELECT, INSERT ON ai.*". Nil: everything is granted. Empty but not nil: nothing is.
	Grants []string
}

// Restricted reports whether the user may do no more than Grants says.
func (u User) Restricted() bool { return u.Grants != nil }

// writeConfig writes config.xml and users.xml into the server's directory.
func writeConfig(opts Options) (path string, err error) {
	users := filepath.Join(opts.Dir, "users.xml")
	if err := render(users, usersTemplate, opts); err != nil {
		return "", err
	}
	path = filepath.Join(opts.Dir, "config.xml")
	return path, render(path, configTemplate, struct {
		Options
		UsersFile string
	}{opts, users})
}

func render(path string, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func escape(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var funcs = template.FuncMap{"xml": escape, "keys": sortedKeys}

var configTemplate = template.Must(template.New("config").Funcs(funcs).Parse(`<clickhouse>
    <users_config>{{xml .UsersFile}}</users_config>
    <max_server_memory_usage>{{.MaxMemory}}</max_server_memory_usage>
    <mark_cache_size>67108864</mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <background_pool_size>4</background_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <background_common_pool_size>2</background_common_pool_size>
    <background_move_pool_size>1</background_move_pool_size>
    <background_fetches_pool_size>1</background_fetches_pool_size>
    <merge_tree>
        <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
{{- if .SystemLogs}}
    <query_log><database>system</database><table>query_log</table><flush_interval_milliseconds>500</flush_interval_milliseconds></query_log>
    <part_log><database>system</database><table>part_log</table><flush_interval_milliseconds>500</flush_interval_milliseconds></part_log>
{{- end}}
{{.ExtraConfig}}
</clickhouse>
`))

var usersTemplate = template.Must(template.New("users").Funcs(funcs).Parse(`<clickhouse>
    <profiles>
        <default/>
{{- range .Users}}
        <profile_{{.Name}}>
{{- $settings := .Settings}}
{{- range keys .Settings}}
            <{{.}}>{{xml (index $settings .)}}</{{.}}>
{{- end}}
            <constraints>{{range .ReadOnly}}<{{.}}><readonly/></{{.}}>{{end}}</constraints>
        </profile_{{.Name}}>
{{- end}}
    </profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
        </default>
{{- range .Users}}
        <{{.Name}}>
            <password>{{xml .Password}}</password>
            <networks><ip>::/0</ip></networks>
            <profile>profile_{{.Name}}</profile>
            <quota>default</quota>
{{- if .Restricted}}
            <grants>
{{- range .Grants}}
                <query>{{xml .}}</query>
{{- end}}
            </grants>
{{- end}}
        </{{.Name}}>
{{- end}}
    </users>
</clickhouse>
`))
