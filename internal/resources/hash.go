package resources

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// hashed is what the hash is made of: everything in the spec that a running
// member depends on, as the user said it, and the image. A change of any of it is
// a rolling restart. Not in it: replicas and observers, sizes of volumes, the
// Service, the network policy, how to update, monitoring, leases.
//
// A field that is added to the spec later comes to the end of this, with omitzero,
// and is left zero here as long as it has its default: then clusters that do not
// use it keep their hash, and an upgrade of the operator restarts nobody.
// TestHashesAreForEver holds that.
type hashed struct {
	Image            string                        `json:"image"`
	ImagePullPolicy  corev1.PullPolicy             `json:"imagePullPolicy,omitempty"`
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	Tick             int32                         `json:"tick"`
	MinTimeout       *int32                        `json:"minTimeout,omitempty"`
	MaxTimeout       *int32                        `json:"maxTimeout,omitempty"`
	MaxPerMember     int32                         `json:"maxPerMember,omitempty"`
	Config           map[string]string             `json:"config,omitempty"`
	SuperDigest      string                        `json:"superDigest,omitempty"`
	LogLevel         string                        `json:"logLevel"`
	Resources        *corev1.ResourceRequirements  `json:"resources,omitempty"`
	PodTemplate      any                           `json:"podTemplate,omitempty"`
	TopologySpread   []spread                      `json:"topologySpread,omitempty"`
	LogVolume        bool                          `json:"logVolume,omitempty"`
}

type spread struct {
	Key  string `json:"key"`
	Skew int32  `json:"skew"`
	When string `json:"when"`
}

// Hash names what the spec says about pods, with the image that Image returns. It
// depends on nothing else: not on how pods are rendered from it.
func Hash(c *v1alpha1.CoordinationCluster, image string) (string, error) {
	s := &c.Spec
	h := hashed{
		Image: image, ImagePullPolicy: s.ImagePullPolicy, ImagePullSecrets: s.ImagePullSecrets,
		Tick: s.Sessions.TickMilliseconds, MinTimeout: s.Sessions.MinTimeoutMilliseconds, MaxTimeout: s.Sessions.MaxTimeoutMilliseconds,
		MaxPerMember: s.Sessions.MaxPerMember, LogLevel: string(s.Server.LogLevel), LogVolume: s.Storage.Log != nil,
	}
	if len(s.Server.Config) > 0 {
		h.Config = map[string]string{}
		for k, v := range s.Server.Config {
			h.Config[k] = string(v)
		}
	}
	if d := s.Server.SuperDigestSecret; d != nil {
		h.SuperDigest = d.Name + "/" + d.Key
	}
	if r := s.Resources; len(r.Limits)+len(r.Requests)+len(r.Claims) > 0 {
		h.Resources = &r
	}
	for _, t := range s.TopologySpread {
		h.TopologySpread = append(h.TopologySpread, spread{t.TopologyKey, t.MaxSkew, t.WhenUnsatisfiable})
	}
	if s.PodTemplate != nil && len(s.PodTemplate.Raw) > 0 {
		// Decoded, so that the order of keys and the spaces between them do not count.
		d := json.NewDecoder(bytes.NewReader(s.PodTemplate.Raw))
		d.UseNumber()
		if err := d.Decode(&h.PodTemplate); err != nil {
			return "", fmt.Errorf("spec.podTemplate: %w", err)
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("hashing the spec: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6]), nil
}
