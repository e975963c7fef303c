module github.com/conclave-dev/conclave/hack/localcluster/build/pause

go 1.26.0
