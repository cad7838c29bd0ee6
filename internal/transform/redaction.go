package transform

import (
	"errors"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

var errNoRedaction = errors.New("the plan has a redaction policy, which this version of Waybill cannot apply")

// compileRedact refuses what cannot be applied: a record that is stored unredacted cannot be taken back.
func (t *Transformer) compileRedact(r *contract.Redact, secret []byte) error {
	if r == nil {
		return nil
	}
	if r.SecretID != "" && r.SecretID != contract.SecretID(secret) {
		return &waybill.Error{Op: "transform.compile", Class: waybill.ClassConfig,
			Hint: "give the secret that the plan was made with, or change the policy, which makes a new plan",
			Err:  errors.New("the redaction secret is not the one that the plan was made with")}
	}
	return configError("redact", errNoRedaction)
}
