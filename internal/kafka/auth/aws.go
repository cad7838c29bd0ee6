package auth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
)

// AWSKeys are credentials of AWS.
type AWSKeys struct{ AccessKeyID, SecretAccessKey, SessionToken string }

// AWSSource gives keys for each connection.
type AWSSource func() (AWSKeys, error)

// MSKIAM signs each connection with keys of AWS: Amazon's MSK. The region is taken from the broker's name, else from AWS_REGION or
// AWS_DEFAULT_REGION.
func MSKIAM(keys AWSSource) sasl.Mechanism {
	return aws.ManagedStreamingIAM(func(context.Context) (aws.Auth, error) {
		k, err := keys()
		if err != nil {
			return aws.Auth{}, unreadable(opSASL, "the keys of AWS", err)
		}
		return aws.Auth{AccessKey: k.AccessKeyID, SecretKey: k.SecretAccessKey, SessionToken: k.SessionToken, UserAgent: "waybill"}, nil
	})
}

// AWSFile reads a profile of a file as AWS's own tools keep it, each time anew. Empty: the file and the profile that those tools would take.
func AWSFile(path, profile string) AWSSource {
	return func() (AWSKeys, error) {
		path, profile := path, firstText(profile, os.Getenv("AWS_PROFILE"), "default")
		if path == "" {
			path = os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
		}
		if path == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return AWSKeys{}, err
			}
			path = filepath.Join(home, ".aws", "credentials")
		}
		return readProfile(path, profile)
	}
}

// AWSEnvironment takes the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and without them AWSFile.
func AWSEnvironment() (AWSKeys, error) {
	k := AWSKeys{os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")}
	if k.AccessKeyID != "" && k.SecretAccessKey != "" {
		return k, nil
	}
	k, err := AWSFile("", "")()
	if err != nil {
		return k, fmt.Errorf("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and %w", err)
	}
	return k, nil
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// readProfile reads the keys of one profile: lines of NAME = VALUE under [PROFILE].
func readProfile(path, profile string) (AWSKeys, error) {
	f, err := os.Open(path)
	if err != nil {
		return AWSKeys{}, err
	}
	defer func() { _ = f.Close() }() // only read
	var k AWSKeys
	found, in := false, false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, isHead := strings.CutPrefix(line, "["); isHead {
			name, _, _ = strings.Cut(name, "]")
			in = strings.TrimSpace(name) == profile
			found = found || in
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !in || !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "aws_access_key_id":
			k.AccessKeyID = value
		case "aws_secret_access_key":
			k.SecretAccessKey = value
		case "aws_session_token":
			k.SessionToken = value
		}
	}
	switch {
	case lines.Err() != nil:
		return AWSKeys{}, errors.New(path + " cannot be read to its end")
	case !found:
		return AWSKeys{}, fmt.Errorf("%s has no profile %q", path, profile)
	case k.AccessKeyID == "" || k.SecretAccessKey == "":
		return AWSKeys{}, fmt.Errorf("profile %q of %s has no keys: aws_access_key_id and aws_secret_access_key (roles, single sign-on and web identities are not supported)", profile, path)
	}
	return k, nil
}
