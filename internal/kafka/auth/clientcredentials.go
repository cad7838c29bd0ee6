package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// ClientCredentials gets tokens from an OAuth 2.0 token endpoint, by the client credentials grant. It is safe for concurrent use.
type ClientCredentials struct {
	URL      string
	ClientID string
	Secret   Text
	Scope    string // empty: none is asked for
	CAFile   string // of the endpoint; empty: the system's authorities
	// Now is time.Now if nil.
	Now func() time.Time

	mu    sync.Mutex
	token string
	until time.Time // the token is used before
}

const (
	tokenTimeout = 10 * time.Second
	// tokenAnswer bounds what is read of an endpoint's answer.
	tokenAnswer = 1 << 20
)

// Token is the last one as long as four fifths of its life are not over, else a new one.
func (c *ClientCredentials) Token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	asked := now()
	if c.token != "" && asked.Before(c.until) {
		return c.token, nil
	}
	token, life, err := c.fetch(ctx)
	if err != nil {
		return "", err
	}
	c.token, c.until = token, asked.Add(life*4/5)
	return token, nil
}

// Refused forgets the token: the endpoint may have changed its keys.
func (c *ClientCredentials) Refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

func (c *ClientCredentials) fetch(ctx context.Context) (token string, life time.Duration, err error) {
	secret, err := c.Secret()
	if err != nil {
		return "", 0, unreadable(opSASL, "the client's secret", err)
	}
	client, err := c.client()
	if err != nil {
		return "", 0, err
	}
	defer client.CloseIdleConnections()
	form := url.Values{"grant_type": {"client_credentials"}}
	if c.Scope != "" {
		form.Set("scope", c.Scope)
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fault(opSASL, errors.New("the token endpoint's URL cannot be used"), "correct it in the pipeline file")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(secret)) // encoded first: RFC 6749, section 2.3.1
	resp, err := client.Do(req)
	if err != nil {
		return "", 0, fault(opSASL, fmt.Errorf("token endpoint: %w", err), "check that the token endpoint runs, and its URL in the pipeline file")
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, tokenAnswer))
	if err != nil {
		return "", 0, fault(opSASL, fmt.Errorf("token endpoint %s: %w", c.URL, err), "")
	}
	return c.read(resp.StatusCode, body)
}

// read takes the token out of an answer. What else is in the answer is not shown, but for the error's name: RFC 6749, section 5.2.
func (c *ClientCredentials) read(status int, body []byte) (token string, life time.Duration, err error) {
	var said struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Error       string `json:"error"`
	}
	jsonErr := json.Unmarshal(body, &said)
	switch {
	case status == http.StatusUnauthorized || said.Error == "invalid_client":
		return "", 0, fault(opSASL, fmt.Errorf("token endpoint %s: %d: it does not know client %q by this secret", c.URL, status, c.ClientID), "check client_id and the secret; a secret in a file is read again each time")
	case status != http.StatusOK:
		return "", 0, fault(opSASL, fmt.Errorf("token endpoint %s: %d %s", c.URL, status, firstOf(said.Error, http.StatusText(status))), "see the log of the token endpoint")
	case jsonErr != nil || said.AccessToken == "":
		return "", 0, fault(opSASL, fmt.Errorf("token endpoint %s: its answer holds no access_token", c.URL), "is the URL that of the token endpoint?")
	}
	return said.AccessToken, time.Duration(said.ExpiresIn) * time.Second, nil
}

// errorNames bounds what is shown of an error's name, which is the endpoint's own.
const errorNames = 60

func firstOf(name, otherwise string) string {
	if name == "" || len(name) > errorNames {
		return otherwise
	}
	return name
}

func (c *ClientCredentials) client() (*http.Client, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, unreadable(opSASL, "the certificates for the token endpoint", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, unreadable(opSASL, "the certificates for the token endpoint", fmt.Errorf("%s holds no certificate in PEM", c.CAFile))
		}
	}
	return &http.Client{Transport: t}, nil
}
