package auth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The signatures are what AWS's own signer (aws-sdk-go-v2, PresignHTTP for the service kafka-cluster) makes of the same keys, host and time:
// midnight of the first of January 2000, where the clock of a synctest bubble begins.
func TestMSKIAM_SignsAsAWSDoes(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	const provisioned, serverless = "b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com", "boot-abc.c1.kafka-serverless.us-east-2.amazonaws.com"
	for name, c := range map[string]struct {
		host, region, session, signature string
	}{
		"keys":       {provisioned, "eu-west-1", "", "44ec662653613d2be76739017abe76dc11618e1e5d6d11b440e2204b2014c479"},
		"a session":  {provisioned, "eu-west-1", "IQoJb3JpZ2luX2VjE/+= x", "393f79c537208410db0caca33e554edf4563b3eca242f590556076e368938517"},
		"serverless": {serverless, "us-east-2", "", "9199d295ca83943d8fb914eaf213ebeef83717af3593aac25eae4479f6e0f08d"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := MSKIAM(func() (AWSKeys, error) { return AWSKeys{"AKIDEXAMPLE", secret, c.session}, nil })
				_, first, err := m.Authenticate(t.Context(), c.host+":9098")
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]string{}
				if err := json.Unmarshal(first, &got); err != nil {
					t.Fatal(err)
				}
				want := map[string]string{"version": "2020_10_22", "host": c.host, "user-agent": "waybill", "action": "kafka-cluster:Connect", "x-amz-algorithm": "AWS4-HMAC-SHA256",
					"x-amz-credential": "AKIDEXAMPLE/20000101/" + c.region + "/kafka-cluster/aws4_request", "x-amz-date": "20000101T000000Z", "x-amz-expires": "300",
					"x-amz-signedheaders": "host", "x-amz-signature": c.signature}
				if c.session != "" {
					want["x-amz-security-token"] = c.session
				}
				for k, v := range want {
					if got[k] != v {
						t.Errorf("%s is %q, want %q", k, got[k], v)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d members, want %d", len(got), len(want))
				}
			})
		})
	}
}

func TestMSKIAM_WhereKeysAre(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write(t, file, "# comment\n[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key=one=two\n\n[ other ]\naws_access_key_id=AKIDOTHER\naws_secret_access_key=three\naws_session_token=four\n[role]\nrole_arn=arn\n")
	for _, v := range []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	expect := func(from AWSSource, want AWSKeys) {
		t.Helper()
		if got, err := from(); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	expect(AWSFile(file, ""), AWSKeys{"AKIDDEFAULT", "one=two", ""})
	expect(AWSFile("", "other"), AWSKeys{"AKIDOTHER", "three", "four"})
	expect(AWSEnvironment, AWSKeys{"AKIDDEFAULT", "one=two", ""})
	t.Setenv("AWS_PROFILE", "other")
	expect(AWSEnvironment, AWSKeys{"AKIDOTHER", "three", "four"})
	for profile, want := range map[string]string{"absent": `no profile "absent"`, "role": "roles, single sign-on and web identities are not supported"} {
		if _, err := AWSFile(file, profile)(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", profile, err, want)
		}
	}
	// Rotated: the next connection signs with the new keys.
	write(t, file, "[default]\naws_access_key_id = AKIDNEW\naws_secret_access_key = five\n")
	expect(AWSFile(file, "default"), AWSKeys{"AKIDNEW", "five", ""})
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "six")
	expect(AWSEnvironment, AWSKeys{"AKIDENV", "six", ""})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFile_IsReadEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	from := File(path)
	if _, err := from(); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{"one\n", "two"} {
		write(t, path, text)
		if got, err := from(); err != nil || got != strings.TrimSpace(text) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	write(t, path, " \n")
	if _, err := from(); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty file: %v", err)
	}
}

// A token is used for four fifths of its life, and forgotten when a broker refuses it.
func TestClientCredentials_TokensAreKept(t *testing.T) {
	now := time.Unix(1000, 0)
	c := &ClientCredentials{Now: func() time.Time { return now }, token: "kept", until: now.Add(time.Minute), Secret: File("/nowhere")}
	if got, err := c.Token(t.Context()); got != "kept" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	now = now.Add(time.Minute)
	if _, err := c.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "the client's secret") {
		t.Errorf("past its life: %v", err)
	}
	c.until = now.Add(time.Minute)
	c.Refused()
	if _, err := c.Token(t.Context()); err == nil {
		t.Error("a refused token is used again")
	}
}
