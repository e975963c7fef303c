package metrics

import (
	"bytes"
	"net/http"
	"strconv"
)

// Handler serves what c collects, in Prometheus' text format, to GET and HEAD
// on /metrics.
func Handler(c Collector) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer // whole before it is sent: a slow reader holds nothing up
		if err := WriteText(&b, c); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", ContentType)
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		w.Write(b.Bytes())
	})
	return mux
}
