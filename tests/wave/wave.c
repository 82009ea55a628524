/* The wave on a string as a program: it speaks the port protocol (docs/protocol.md) itself.
 *
 * 1. main      reads a command a line, and prints one reply a line
 * 2. load      reads parameters.txt and two fields into a new Wave, which takes over if all is well
 * 3. run       advances a copy, which takes over if it stays finite; only the stepping is timed
 * 4. save      writes what was understood and computed
 *
 * Whatever goes wrong is said in `complaint`; the loaded wave is then as it was. Build with
 * cc -O2 -ffp-contract=off -o wave wave.c -lm, on a little-endian POSIX machine. */

#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    long points;                /* at least 3 */
    double spacing, speed, dt;  /* above 0, speed * dt <= spacing */
    bool ring;                  /* the ends are joined, or else fixed */
    double *u, *v, *a;          /* displacement, velocity, acceleration: one block of memory at u */
} Wave;

static char complaint[256];

static bool fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(complaint, sizeof complaint, format, values);
    va_end(values);
    for (char *c = complaint; *c; c++)
        if (!isprint((unsigned char)*c))
            *c = '?';
    return false;
}

/* ---------------------------------------------------------------- the simulation */

static void evaluate(Wave *w)
{
    const long last = w->points - 1;
    const double *u = w->u, rate = w->speed / w->spacing, rate2 = rate * rate;
    for (long i = 1; i < last; i++)
        w->a[i] = rate2 * (u[i - 1] + u[i + 1] - 2 * u[i]);
    w->a[0] = w->ring ? rate2 * (u[last] + u[1] - 2 * u[0]) : 0.0;
    w->a[last] = w->ring ? rate2 * (u[last - 1] + u[0] - 2 * u[last]) : 0.0;
}

static void step(Wave *w)
{
    const double dt = w->dt, half = 0.5 * dt;
    for (long i = 0; i < w->points; i++) {
        w->v[i] += half * w->a[i];
        w->u[i] += dt * w->v[i];
    }
    evaluate(w);
    for (long i = 0; i < w->points; i++)
        w->v[i] += half * w->a[i];
}

static double energy(const Wave *w)
{
    double kinetic = 0.0, elastic = 0.0;
    for (long i = 0; i < w->points; i++) {
        double slope = (w->u[i + 1 < w->points ? i + 1 : 0] - w->u[i]) / w->spacing;
        kinetic += w->v[i] * w->v[i];
        elastic += slope * slope;
    }
    return 0.5 * w->spacing * (kinetic + w->speed * w->speed * elastic);
}

static bool all_finite(const double *values, long count)
{
    for (long i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool allocate(Wave *w)
{
    w->u = malloc(3 * sizeof(double) * (size_t)w->points);
    if (!w->u)
        return fail("there is not enough memory for %ld points", w->points);
    w->v = w->u + w->points;
    w->a = w->v + w->points;
    return true;
}

static void replace(Wave *loaded, Wave *by)
{
    free(loaded->u);
    *loaded = *by;
}

/* ---------------------------------------------------------------- files */

static FILE *open_in(const char *folder, const char *name, const char *mode)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = *folder && length < (int)sizeof path ? fopen(path, mode) : NULL;
    if (!file)
        fail("%s cannot be opened in that folder", name);
    return file;
}

static bool number(const char *name, const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !isfinite(*value))
        return fail("the parameter %s must be one finite number", name);
    return true;
}

static bool read_line(Wave *w, char *line, unsigned *seen)
{
    static const char *names[] = {"points", "spacing", "speed", "dt", "ends"};
    const char *blanks = " \t\r\n";
    char *equals = strchr(line, '='), *name, *value;
    double whole;
    int k = 0;
    if (!equals)
        return strspn(line, blanks) == strlen(line) || fail("parameters.txt has a line without '='");
    *equals = '\0';
    name = line + strspn(line, blanks);
    name[strcspn(name, blanks)] = '\0';
    value = equals + 1 + strspn(equals + 1, blanks);
    for (size_t length = strlen(value); length && strchr(blanks, value[length - 1]); length--)
        value[length - 1] = '\0';
    while (k < 5 && strcmp(name, names[k]))
        k++;
    *seen |= 1u << k;
    switch (k) {
    case 0:
        if (!number(name, value, &whole))
            return false;
        if (!(whole >= 3 && whole <= 1e12 && whole == floor(whole)))
            return fail("points must be a whole number from 3 to 1e12");
        w->points = (long)whole;
        return true;
    case 1: return number(name, value, &w->spacing);
    case 2: return number(name, value, &w->speed);
    case 3: return number(name, value, &w->dt);
    case 4:
        w->ring = !strcmp(value, "ring");
        return w->ring || !strcmp(value, "fixed") || fail("ends must be fixed or ring");
    default: return fail("the parameter %.40s is unknown", name);
    }
}

static bool read_parameters(Wave *w, const char *folder)
{
    FILE *file = open_in(folder, "parameters.txt", "r");
    char *line = NULL;
    size_t room = 0;
    unsigned seen = 0;
    bool good = file != NULL;
    while (good && getline(&line, &room, file) >= 0)
        good = read_line(w, line, &seen);
    free(line);
    if (file)
        fclose(file);
    if (good && seen != 31)
        return fail("parameters.txt needs points, spacing, speed, dt and ends");
    if (good && !(w->spacing > 0 && w->speed > 0 && w->dt > 0 && w->speed * w->dt <= w->spacing))
        return fail("spacing, speed and dt must be above 0, and speed times dt at most the spacing");
    return good;
}

static bool read_field(const char *folder, const char *name, double *values, const Wave *w)
{
    const size_t count = (size_t)w->points;
    FILE *file = open_in(folder, name, "rb");
    if (!file)
        return false;
    bool good = !fseek(file, 0, SEEK_END) && ftell(file) == (long)(count * sizeof(double));
    rewind(file);
    good = good && fread(values, sizeof(double), count, file) == count;
    fclose(file);
    if (!good)
        return fail("%s does not hold %ld doubles", name, w->points);
    if (!all_finite(values, w->points))
        return fail("%s holds a number that is not finite", name);
    if (!w->ring && (values[0] != 0 || values[count - 1] != 0))
        return fail("%s of a fixed end is not 0", name);
    return true;
}

static bool write_field(const char *folder, const char *name, const double *values, long count)
{
    FILE *file = open_in(folder, name, "wb");
    if (!file)
        return false;
    bool good = fwrite(values, sizeof(double), (size_t)count, file) == (size_t)count;
    return (!fclose(file) && good) || fail("%s could not be written", name);
}

static bool write_parameters(const Wave *w, const char *folder)
{
    FILE *file = open_in(folder, "parameters.txt", "w");
    if (!file)
        return false;
    bool good = fprintf(file, "points = %ld\nspacing = %.17g\nspeed = %.17g\ndt = %.17g\nends = %s\n", w->points,
                        w->spacing, w->speed, w->dt, w->ring ? "ring" : "fixed") > 0;
    return (!fclose(file) && good) || fail("parameters.txt could not be written");
}

/* ---------------------------------------------------------------- commands */

static bool load(Wave *loaded, const char *folder)
{
    Wave next = {0};
    if (!read_parameters(&next, folder) || !allocate(&next))
        return false;
    if (!read_field(folder, "displacement.f64", next.u, &next) || !read_field(folder, "velocity.f64", next.v, &next)) {
        free(next.u);
        return false;
    }
    evaluate(&next);
    replace(loaded, &next);
    return true;
}

static bool run(Wave *loaded, const char *text, long long *nanoseconds)
{
    struct timespec start, end;
    Wave next = *loaded;
    errno = 0;
    long steps = strtol(text, NULL, 10);
    if (!loaded->u)
        return fail("nothing is loaded");
    if (!*text || strspn(text, "0123456789") != strlen(text) || errno)
        return fail("run needs a whole number of steps of at least 0");
    if (!allocate(&next))
        return false;
    memcpy(next.u, loaded->u, 3 * sizeof(double) * (size_t)next.points);
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (!steps)
        evaluate(&next);
    for (long i = 0; i < steps; i++)
        step(&next);
    clock_gettime(CLOCK_MONOTONIC, &end);
    *nanoseconds = (end.tv_sec - start.tv_sec) * 1000000000LL + (end.tv_nsec - start.tv_nsec);
    if (!all_finite(next.u, 3 * next.points)) {
        free(next.u);
        return fail("the string is no longer finite: what was loaded is kept");
    }
    replace(loaded, &next);
    return true;
}

static bool save(const Wave *w, const char *folder)
{
    if (!w->u)
        return fail("nothing is loaded");
    double total = energy(w);
    return write_parameters(w, folder) && write_field(folder, "displacement.f64", w->u, w->points)
           && write_field(folder, "velocity.f64", w->v, w->points)
           && write_field(folder, "acceleration.f64", w->a, w->points) && write_field(folder, "energy.f64", &total, 1);
}

static void hello(void)
{
    char version[] = __VERSION__;  /* the compiler's */
    for (char *c = version; *c; c++)
        if (*c == ' ')
            *c = '_';
    printf("ok protocol=1 port=c language=C version=%s threads=1 precision=float64 device=cpu\n", version);
}

static void reply(bool good)
{
    if (good)
        puts("ok");
    else
        printf("error %s\n", complaint);
}

int main(void)
{
    Wave loaded = {0};
    char *line = NULL;
    size_t room = 0;
    bool more = true;
    for (ssize_t length; more && (length = getline(&line, &room, stdin)) >= 0;) {
        if (length && line[length - 1] == '\n')
            line[length - 1] = '\0';
        char *blank = strchr(line, ' '), *rest = blank ? blank + 1 : line + strlen(line);
        long long nanoseconds = 0;
        if (blank)
            *blank = '\0';
        if (!strcmp(line, "hello"))
            hello();
        else if (!strcmp(line, "load"))
            reply(load(&loaded, rest));
        else if (!strcmp(line, "run")) {
            if (run(&loaded, rest, &nanoseconds))
                printf("ok nanoseconds=%lld\n", nanoseconds);
            else
                reply(false);
        } else if (!strcmp(line, "save"))
            reply(save(&loaded, rest));
        else if (!strcmp(line, "quit")) {
            reply(true);
            more = false;
        } else
            reply(fail("the command is unknown: there are hello, load, run, save and quit"));
        fflush(stdout);
    }
    free(line);
    free(loaded.u);
    return 0;
}
