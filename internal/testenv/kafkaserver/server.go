// Package kafkaserver runs a real Apache Kafka broker for tests: one node in KRaft mode, broker and controller in one Java
// process, from the jars that tools/engines/fetch brings.
package kafkaserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Options describe a broker. Only Dir is required.
type Options struct {
	// Dir holds logs and configuration; it is made if it is not there. A broker on the same Dir finds its topics again.
	Dir string
	// Port and ControllerPort are ports of 127.0.0.1; 0 chooses a free one, which restarts keep.
	Port, ControllerPort int
	// AdvertisedAddr is what the broker tells clients to connect to, for a proxy in front of it. Empty: its own address.
	AdvertisedAddr string
	// Listeners beside the plain one, by name (capitals): the security protocol of each, such as SASL_SSL. They are on free ports of
	// 127.0.0.1, advertised as localhost, see Server.Listener; what they need is in Properties.
	Listeners map[string]string
	// Properties go over the defaults in server.properties.
	Properties map[string]string
	// HeapMB is the Java heap's limit; 0 means 512.
	HeapMB int
	// JavaFlags go before the class name: system properties, such as one that names a JAAS file.
	JavaFlags []string
	// Log gets what the broker writes: warnings and errors.
	Log io.Writer
}

// Server is one broker, over any number of lives of its process: Kill, Stop, Restart, Suspend, Resume and PID are promoted
// from proc.Daemon.
type Server struct {
	*proc.Daemon
	opts  Options
	java  string
	jars  string
	ports map[string]*int // of Options.Listeners
}

// Start formats the directory if need be, starts a broker and waits until it is ready for clients.
func Start(ctx context.Context, opts Options) (*Server, error) {
	jars, err := Locate()
	if err != nil {
		return nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errMissingJava
	}
	if opts.Dir == "" {
		return nil, errors.New("kafkaserver: Options.Dir is required")
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, err
	}
	if opts.HeapMB == 0 {
		opts.HeapMB = 512
	}
	return startOnFreePorts(ctx, &Server{opts: opts, java: java, jars: jars})
}

// startOnFreePorts tries again on other ports when someone else took a chosen one in between.
func startOnFreePorts(ctx context.Context, s *Server) (*Server, error) {
	const attempts = 3
	given := s.opts
	var err error
	for range attempts {
		s.opts = given
		ports := []*int{&s.opts.Port, &s.opts.ControllerPort}
		s.ports = map[string]*int{}
		for name := range s.opts.Listeners {
			s.ports[name] = new(int)
			ports = append(ports, s.ports[name])
		}
		if err = proc.FreePorts(ports...); err != nil {
			return nil, err
		}
		s.Daemon = proc.New(proc.Spec{
			Name:    "Apache Kafka",
			Command: s.command,
			Ready:   s.ready,
			Log:     s.opts.Log,
		})
		if err = s.format(ctx); err != nil {
			return nil, err
		}
		if err = s.Start(ctx); err == nil {
			return s, nil
		}
		if !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	return nil, err
}

// Addr is where clients connect.
func (s *Server) Addr() string { return proc.Loopback(s.opts.Port) }

// Listener is where clients connect to one of Options.Listeners.
func (s *Server) Listener(name string) string { return fmt.Sprintf("localhost:%d", *s.ports[name]) }

// Dir is the directory that holds the broker's logs and configuration.
func (s *Server) Dir() string { return s.opts.Dir }

func (s *Server) command() (*exec.Cmd, error) {
	return s.javaCommand(context.Background(), "kafka.Kafka", s.propertiesFile()), nil
}

// format prepares the log directory, once in its life.
func (s *Server) format(ctx context.Context) error {
	if err := os.MkdirAll(s.opts.Dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.loggingFile(), []byte(logging), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(s.propertiesFile(), s.properties(), 0o600); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.logDir(), "meta.properties")); err == nil {
		return nil
	}
	cmd := s.javaCommand(ctx, "kafka.tools.StorageTool",
		"format", "--standalone", "--cluster-id", clusterID, "--config", s.propertiesFile())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format %s: %w\n%s", s.logDir(), err, out)
	}
	return nil
}

// clusterID is 16 bytes in base64: any will do, as brokers of one test never meet those of another.
const clusterID = "V2F5YmlsbC10ZXN0cy4xMQ"

func (s *Server) javaCommand(ctx context.Context, class string, args ...string) *exec.Cmd {
	flags := []string{
		"-Xms64m", fmt.Sprintf("-Xmx%dm", s.opts.HeapMB),
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData",
		"-XX:+ExitOnOutOfMemoryError",
		"-Djava.awt.headless=true",
		"-Djava.io.tmpdir=" + s.opts.Dir, // native libraries are unpacked here, and go with the directory
		"-Dlog4j2.configurationFile=" + s.loggingFile(),
	}
	flags = append(flags, s.opts.JavaFlags...)
	flags = append(flags, "-cp", filepath.Join(s.jars, "*"), class)
	cmd := exec.CommandContext(ctx, s.java, append(flags, args...)...)
	cmd.Dir = s.opts.Dir
	return cmd
}

func (s *Server) propertiesFile() string { return filepath.Join(s.opts.Dir, "server.properties") }
func (s *Server) loggingFile() string    { return filepath.Join(s.opts.Dir, "log4j2.properties") }
func (s *Server) logDir() string         { return filepath.Join(s.opts.Dir, "kafka") }

// properties are the defaults for tests, small and quick, under what Options says.
func (s *Server) properties() []byte {
	advertised := s.opts.AdvertisedAddr
	if advertised == "" {
		advertised = s.Addr()
	}
	controller := proc.Loopback(s.opts.ControllerPort)
	p := map[string]string{
		"process.roles":                       "broker,controller",
		"node.id":                             "1",
		"controller.quorum.bootstrap.servers": controller,
		"controller.listener.names":           "CONTROLLER",
		"listeners":                           "PLAINTEXT://" + s.Addr() + ",CONTROLLER://" + controller,
		"advertised.listeners":                "PLAINTEXT://" + advertised + ",CONTROLLER://" + controller,
		"listener.security.protocol.map":      "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":          "PLAINTEXT",
		"log.dirs":                            s.logDir(),
		"auto.create.topics.enable":           "false",
		"num.partitions":                      "1",
		"default.replication.factor":          "1",

		"num.network.threads":                              "2",
		"num.io.threads":                                   "2",
		"num.replica.fetchers":                             "1",
		"log.cleaner.dedupe.buffer.size":                   "4194304",
		"offsets.topic.num.partitions":                     "2",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.num.partitions":             "2",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",

		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "1000",
		"group.consumer.min.session.timeout.ms":    "1000",
		"group.consumer.min.heartbeat.interval.ms": "100",
		"broker.session.timeout.ms":                "2000", // a restart waits for the earlier life to lapse
		"broker.heartbeat.interval.ms":             "250",
	}
	for name, protocol := range s.opts.Listeners {
		p["listeners"] += fmt.Sprintf(",%s://127.0.0.1:%d", name, *s.ports[name])
		p["advertised.listeners"] += fmt.Sprintf(",%s://%s", name, s.Listener(name))
		p["listener.security.protocol.map"] += fmt.Sprintf(",%s:%s", name, protocol)
	}
	for k, v := range s.opts.Properties {
		p[k] = v
	}
	keys := make([]string, 0, len(p))
	for k := range p {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b bytes.Buffer
	for _, k := range keys {
		fmt.Fprintf(&b, "%s=%s\n", k, p[k])
	}
	return b.Bytes()
}

const logging = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
`

// ready asks for the API versions and the metadata, as any client does first.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, cl.SeedBrokers()[0]); err != nil {
		return fmt.Errorf("api versions: %w", err)
	}
	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl.SeedBrokers()[0])
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if len(meta.Brokers) != 1 {
		return fmt.Errorf("metadata: %d brokers", len(meta.Brokers))
	}
	return nil
}
