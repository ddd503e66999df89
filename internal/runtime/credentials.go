package runtime

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
)

// newIdentity draws the credentials of one worker: they exist only as long as it
// does, and name it wherever it calls.
func newIdentity() Worker {
	var b [64]byte
	rand.Read(b[:])
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // AWS key ids are base32
	key := []byte("ASIA")
	for _, c := range b[:16] {
		key = append(key, alphabet[c%32])
	}
	return Worker{
		AccessKeyID:  string(key),
		SecretKey:    base64.RawStdEncoding.EncodeToString(b[16:46]), // 40 characters
		SessionToken: "livegate-" + string(key),
		ProxySecret:  hex.EncodeToString(b[46:]),
	}
}

func (r *Runtime) byKey(accessKeyID string) *worker {
	if accessKeyID == "" {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.workers[accessKeyID]
}

// Tag returns the tag of the invocation that the worker with this access key is
// running ("" for none): the connection whose $connect it works for, directly
// or through synchronous calls.
func (r *Runtime) Tag(accessKeyID string) string {
	if w := r.byKey(accessKeyID); w != nil {
		return w.tag()
	}
	return ""
}

// Secret returns the secret key that belongs to a live worker's access key.
func (r *Runtime) Secret(accessKeyID string) (secret string, ok bool) {
	if w := r.byKey(accessKeyID); w != nil {
		return w.identity.SecretKey, true
	}
	return "", false
}

// ProxyWorker reports whether user and secret are the proxy credentials of a
// live worker.
func (r *Runtime) ProxyWorker(user, secret string) bool {
	w := r.byKey(user)
	return w != nil && subtle.ConstantTimeCompare([]byte(w.identity.ProxySecret), []byte(secret)) == 1
}

// FunctionOf names the function that the worker with this access key runs.
func (r *Runtime) FunctionOf(accessKeyID string) (name string, ok bool) {
	if w := r.byKey(accessKeyID); w != nil {
		return w.identity.Function.Name, true
	}
	return "", false
}
