package resources

import (
	"strings"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Image is what members are to run: the spec's image; or its version, from the
// repository of the operator's own image; or else the image that was latched
// when the cluster was created. Empty: there is nothing to go by yet.
func Image(c *v1alpha1.CoordinationCluster, operators string) string {
	switch {
	case c.Spec.Image != "":
		return c.Spec.Image
	case c.Spec.Version != "":
		return repository(operators) + ":" + c.Spec.Version
	}
	return c.Status.Image
}

// repository takes tag and digest off an image's name. A colon before the last
// slash is a port.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}
