/* The candidate of ../main.go with ZooKeeper's C client. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { DIGITS = 10 };

static const char *hosts, *kind, *path, *name;
static int timeout_ms;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The handle is replaced when its session has expired; both behind the lock. */
static zhandle_t *handle;
static int closing;
/* Posted when something has happened that is worth another look. */
static sem_t happened;
static volatile int expired;

static void on_event(zhandle_t *zh, int type, int state, const char *at, void *context) {
    (void)at;
    (void)context;
    if (type == ZOO_SESSION_EVENT) {
        if (state == ZOO_CONNECTED_STATE) {
            printf("SESSION 0x%llx\n", (unsigned long long)zoo_client_id(zh)->client_id);
        } else if (state == ZOO_CONNECTING_STATE) {
            printf("LOST\n");
        } else if (state == ZOO_EXPIRED_SESSION_STATE) {
            printf("EXPIRED\n");
            expired = 1;
        }
    }
    sem_post(&happened);
}

/* Ends the session when told to. */
static void *listen_to(void *context) {
    char line[64];
    (void)context;
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "close\n") == 0) {
            pthread_mutex_lock(&lock);
            closing = 1;
            zookeeper_close(handle);
            printf("CLOSED\n");
            _exit(0);
        }
    }
    return NULL;
}

static long long number(const char *child) {
    size_t n = strlen(child);
    return n < DIGITS ? -1 : atoll(child + n - DIGITS);
}

/* The child whose node has our session, which may have been made although the
 * answer was lost. */
static int standing(zhandle_t *zh, char *mine, size_t size) {
    struct String_vector children;
    int rc = zoo_get_children(zh, path, 0, &children), found = 0;
    if (rc != ZOK) {
        return rc;
    }
    for (int i = 0; i < children.count && !found; i++) {
        char full[1024];
        struct Stat stat;
        snprintf(full, sizeof full, "%s/%s", path, children.data[i]);
        if (zoo_exists(zh, full, 0, &stat) == ZOK && stat.ephemeralOwner == zoo_client_id(zh)->client_id) {
            snprintf(mine, size, "%s", children.data[i]);
            found = 1;
        }
    }
    deallocate_String_vector(&children);
    return found ? ZOK : ZNONODE;
}

/* Holds the node, or leads: returns ZOK when that is so. */
static int hold(zhandle_t *zh) {
    struct Stat stat;
    int rc = zoo_create(zh, path, name, (int)strlen(name), &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0);
    if (rc == ZNODEEXISTS && zoo_exists(zh, path, 0, &stat) == ZOK && stat.ephemeralOwner == zoo_client_id(zh)->client_id) {
        return ZOK;
    }
    return rc;
}

static int elect(zhandle_t *zh) {
    char mine[512], full[1024], made[1024];
    int rc = standing(zh, mine, sizeof mine);
    if (rc == ZNONODE) {
        snprintf(full, sizeof full, "%s/candidate-", path);
        rc = zoo_create(zh, full, name, (int)strlen(name), &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE, made, sizeof made);
        if (rc == ZOK) {
            snprintf(mine, sizeof mine, "%s", made + strlen(path) + 1);
        }
    }
    while (rc == ZOK) {
        struct String_vector children;
        long long before = -1;
        if ((rc = zoo_get_children(zh, path, 0, &children)) != ZOK) {
            break;
        }
        for (int i = 0; i < children.count; i++) {
            long long n = number(children.data[i]);
            if (n < number(mine) && n > before) {
                before = n;
                snprintf(full, sizeof full, "%s/%s", path, children.data[i]);
            }
        }
        deallocate_String_vector(&children);
        if (before < 0) {
            printf("LEADS\n");
            return ZOK;
        }
        struct Stat stat;
        if (zoo_wexists(zh, full, on_event, NULL, &stat) == ZOK) {
            sem_wait(&happened);
        }
        if (expired) {
            return ZSESSIONEXPIRED;
        }
    }
    return rc;
}

int main(int argc, char **argv) {
    pthread_t listener;
    if (argc != 6) {
        fprintf(stderr, "usage: candidate HOSTS TIMEOUT-MILLISECONDS hold|elect PATH NAME\n");
        return 2;
    }
    hosts = argv[1], timeout_ms = atoi(argv[2]), kind = argv[3], path = argv[4], name = argv[5];
    setvbuf(stdout, NULL, _IOLBF, 0);
    zoo_set_debug_level(0);
    sem_init(&happened, 0, 0);
    for (int first = 1;; first = 0) {
        pthread_mutex_lock(&lock);
        zhandle_t *old = handle;
        expired = 0;
        handle = zookeeper_init(hosts, on_event, timeout_ms, NULL, NULL, 0);
        if (!handle) {
            perror("zookeeper_init");
            return 1;
        }
        pthread_mutex_unlock(&lock);
        if (old) {
            zookeeper_close(old);
        }
        if (first && pthread_create(&listener, NULL, listen_to, NULL) != 0) {
            return 1;
        }
        for (int done = 0; !expired;) {
            if (!done && zoo_state(handle) == ZOO_CONNECTED_STATE) {
                done = (strcmp(kind, "hold") == 0 ? hold(handle) : elect(handle)) == ZOK;
                if (!done) {
                    usleep(100 * 1000);
                }
                continue;
            }
            sem_wait(&happened);
        }
    }
}
