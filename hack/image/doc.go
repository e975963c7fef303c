// Command image writes a container image as one archive, without Docker, a
// registry or root: a layer of the files of a folder for each platform, and the
// same bytes from the same files whenever and wherever it runs.
//
// The archive is an OCI layout in a tar file with Docker's manifest.json beside
// it: containerd, podman and skopeo read all platforms, and docker load the
// one named by -docker-platform.
//
// It is a module of its own so that the server's does not depend on a library
// for images.
package main
