package engine

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever makes a kafka.Config by hand speaks to brokers without the file's TLS and SASL.
func TestKafkaConfig_IsMadeInOnePlace(t *testing.T) {
	const here = "../engine/source.go"
	found := 0
	for _, root := range []string{"..", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte("kafka.Config{")) {
				found++
				if filepath.ToSlash(path) != here {
					t.Errorf("%s makes a kafka.Config: begin with engine.KafkaConfig", path)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("kafka.Config is made nowhere: this test looks at the wrong files")
	}
}
