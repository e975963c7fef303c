/* Runs the tests and prints a line for each: see program_test.go. With the
 * argument "faults" it runs those that kill and pause members. */
#define _GNU_SOURCE
#include "suite.h"

#include <arpa/inet.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 32, MAX_PATHS = 4096, TEST_SECONDS = 100 };

static const char *test_name;
static jmp_buf test_end;
static char failure[4096];

static struct client *clients[MAX_CLIENTS];
static int client_count;
static char *paths[MAX_PATHS];
static int path_count;
static int root_created;

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(failure, sizeof failure, format, args);
    va_end(args);
    longjmp(test_end, 1);
}

void same_int(long long want, long long got, const char *what) {
    if (want != got) {
        fail("%s: got %lld, want %lld", what, got, want);
    }
}

void same_text(const char *want, const char *got, const char *what) {
    if (strcmp(want, got) != 0) {
        fail("%s: got \"%s\", want \"%s\"", what, got, want);
    }
}

void want(int code, int got, const char *what) {
    if (code != got) {
        fail("%s: got %d (%s), want %d (%s)", what, got, zerror(got), code, zerror(code));
    }
}

static struct timespec deadline(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += PATIENCE;
    return t;
}

/* The handle's own watcher: connection states. */
static void on_session(zhandle_t *zh, int type, int state, const char *path, void *context) {
    struct client *c = context;
    (void)zh;
    (void)path;
    if (type != ZOO_SESSION_EVENT) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (state == ZOO_CONNECTED_STATE) {
        c->connected++;
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        c->expired++;
    } else if (state == ZOO_AUTH_FAILED_STATE) {
        c->auth_failed++;
    } else if (state == ZOO_CONNECTING_STATE) {
        c->disconnected++;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void on_event(zhandle_t *zh, int type, int state, const char *path, void *context) {
    struct client *c = context;
    (void)zh;
    /* Watchers of nodes hear of connection states too. */
    if (type == ZOO_SESSION_EVENT) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (c->event_count < (int)(sizeof c->events / sizeof c->events[0])) {
        struct event *e = &c->events[c->event_count++];
        e->type = type;
        e->state = state;
        snprintf(e->path, sizeof e->path, "%s", path);
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* Waits for the next change of c, whose lock is held; gives up at until. */
static void wait_changed(struct client *c, const struct timespec *until, const char *what) {
    if (pthread_cond_timedwait(&c->changed, &c->lock, until) != 0) {
        pthread_mutex_unlock(&c->lock);
        fail("%s does not come", what);
    }
}

void await_count(struct client *c, const int *counter, int count, const char *what) {
    struct timespec until = deadline();
    pthread_mutex_lock(&c->lock);
    while (*counter < count) {
        wait_changed(c, &until, what);
    }
    pthread_mutex_unlock(&c->lock);
}

void answered(struct client *c) {
    pthread_mutex_lock(&c->lock);
    c->answers++;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void expect_event(struct client *c, int type, const char *path) {
    char what[300];
    snprintf(what, sizeof what, "event %d on %s", type, path);
    struct timespec until = deadline();
    pthread_mutex_lock(&c->lock);
    while (c->event_count == 0) {
        wait_changed(c, &until, what);
    }
    struct event e = c->events[0];
    memmove(c->events, c->events + 1, --c->event_count * sizeof e);
    pthread_mutex_unlock(&c->lock);
    if (e.type != type || strcmp(e.path, path) != 0) {
        fail("got event %d on %s, want %s", e.type, e.path, what);
    }
}

void expect_no_event(struct client *c) {
    pthread_mutex_lock(&c->lock);
    int count = c->event_count;
    struct event e = c->events[0];
    pthread_mutex_unlock(&c->lock);
    if (count != 0) {
        fail("unexpected event %d on %s", e.type, e.path);
    }
}

static void on_settled(int rc, const void *data) {
    (void)rc;
    answered((struct client *)data);
}

void settle(struct client *c) {
    int before = c->answers;
    want(ZOK, zoo_adelete(c->zh, "/there-is-no-such-node", -1, on_settled, c), "delete");
    await_count(c, &c->answers, before + 1, "the answer to a write");
}

struct client *attach_to(const char *hosts, int timeout, const clientid_t *id) {
    if (client_count == MAX_CLIENTS) {
        fail("more than %d clients in one test", MAX_CLIENTS);
    }
    struct client *c = calloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    clients[client_count++] = c;
    c->zh = zookeeper_init(hosts != NULL ? hosts : getenv("CONNECT"), on_session, timeout, id, c, 0);
    if (c->zh == NULL) {
        fail("zookeeper_init failed");
    }
    return c;
}

struct client *connect_to(const char *hosts, int timeout) {
    struct client *c = attach_to(hosts, timeout, NULL);
    await_count(c, &c->connected, 1, "the connection");
    return c;
}

void close_client(struct client *c) {
    if (c->zh != NULL) {
        zookeeper_close(c->zh);
    }
    c->zh = NULL;
}

/* Keeps text until the test ends. */
static const char *keep(char *text) {
    if (text == NULL || path_count == MAX_PATHS) {
        fail("too many paths in one test");
    }
    return paths[path_count++] = text;
}

const char *member(int number) {
    char *all = strdup(getenv("CONNECT"));
    char *rest = all;
    char *one = NULL;
    while (number-- > 0) {
        one = strsep(&rest, ",");
    }
    const char *kept = keep(strdup(one));
    free(all);
    return kept;
}

void create(struct client *c, const char *node) {
    want(ZOK, zoo_create(c->zh, node, "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0), node);
}

const char *path(const char *below) {
    char *full;
    if (asprintf(&full, "/c-%s%s", test_name, below) < 0) {
        fail("out of memory");
    }
    keep(full);
    if (!root_created) {
        root_created = 1;
        struct client *c = connect_to(NULL, LONG_SESSION);
        create(c, path(""));
        close_client(c);
    }
    return full;
}

const char *control(const char *format, ...) {
    static int connection = -1;
    static FILE *answers;
    static char line[1024];
    if (connection < 0) {
        char *host = strdup(getenv("CONTROL"));
        char *port = strchr(host, ':');
        *port++ = 0;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
        inet_pton(AF_INET, host, &address.sin_addr);
        free(host);
        connection = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
            fail("no connection to the harness");
        }
        answers = fdopen(connection, "r");
    }
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[n++] = '\n';
    if (write(connection, line, n) != n || fgets(line, sizeof line, answers) == NULL || strncmp(line, "ok", 2) != 0) {
        fail("the harness answered: %s", line);
    }
    line[strcspn(line, "\n")] = 0;
    return keep(strdup(line + (line[2] == ' ' ? 3 : 2)));
}

static void clean_up(void) {
    for (int i = 0; i < client_count; i++) {
        close_client(clients[i]);
        pthread_cond_destroy(&clients[i]->changed);
        pthread_mutex_destroy(&clients[i]->lock);
        free(clients[i]);
    }
    for (int i = 0; i < path_count; i++) {
        free(paths[i]);
    }
    client_count = path_count = root_created = 0;
}

static void on_alarm(int signal) {
    (void)signal;
    printf("FAIL %s: hangs\n", test_name);
    fflush(stdout);
    _exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void run_test(const struct test *t) {
    static double start; /* not a local variable, because of longjmp */
    test_name = t->name;
    start = seconds();
    alarm(TEST_SECONDS);
    if (setjmp(test_end) == 0) {
        t->run();
        printf("PASS %s: %.1f s\n", test_name, seconds() - start);
    } else {
        printf("FAIL %s: %s\n", test_name, failure);
    }
    clean_up();
    alarm(0);
}

int main(int argc, char **argv) {
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "faults") != 0)) {
        fprintf(stderr, "usage: %s [faults]\n", argv[0]);
        return 2;
    }
    regex_t only;
    const char *pattern = getenv("ONLY");
    if (regcomp(&only, pattern != NULL && *pattern != 0 ? pattern : ".", REG_EXTENDED | REG_NOSUB) != 0) {
        fprintf(stderr, "ONLY is no regular expression\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, on_alarm);
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    const struct test *calm[] = {operation_tests, watch_tests, session_tests, NULL};
    const struct test *faults[] = {fault_tests, NULL};
    int count = 0;
    for (const struct test **suite = argc > 1 ? faults : calm; *suite != NULL; suite++) {
        for (const struct test *t = *suite; t->name != NULL; t++) {
            if (regexec(&only, t->name, 0, NULL, 0) != 0) {
                continue;
            }
            count++;
            run_test(t);
        }
    }
    printf("DONE %d\n", count);
    return 0;
}
