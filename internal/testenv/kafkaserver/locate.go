package kafkaserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// JarsEnv names the variable that points at a folder with Kafka's jars.
const JarsEnv = "WAYBILL_KAFKA_JARS"

var errMissingJava = errors.New("java is not installed: Apache Kafka needs Java 17 or newer")

// Locate finds Kafka's jars: the folder that WAYBILL_KAFKA_JARS names (the libs folder of a Kafka distribution will do),
// else what tools/engines/fetch brought into the module that the working directory or the executable lies in.
func Locate() (jarsDir string, err error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errMissingJava
	}
	if dir := os.Getenv(JarsEnv); dir != "" {
		if !hasBroker(dir) {
			return "", fmt.Errorf("%s: no kafka_*.jar in %s", JarsEnv, dir)
		}
		return dir, nil
	}
	for _, cache := range proc.EngineCaches() {
		if dir := filepath.Join(cache, "kafka", "lib"); hasBroker(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the jars of Apache Kafka are not here: run `tools/engines/fetch kafka` in a checkout of Waybill, "+
		"or set %s to a folder that holds them", JarsEnv)
}

func hasBroker(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "kafka_2.13-*.jar"))
	return err == nil && len(found) > 0
}
