/* Writes its argument and a newline to the unix socket that P2POOL_METRICS_SOCKET names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int count, char **words) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char *path = getenv("P2POOL_METRICS_SOCKET");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (count != 2 || !path || fd < 0) return 2;
    strncpy(at.sun_path, path, sizeof at.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) { perror("connect"); return 1; }
    dprintf(fd, "%s\n", words[1]);
    return close(fd);
}
