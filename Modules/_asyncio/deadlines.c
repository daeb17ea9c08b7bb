/* Deadlines: the armed deadlines of a loop, on one timer.

   cancellation.py says how it works, and has the type in Python.  Here each
   owner knows its place in the heap, so that what is taken out is gone at
   once.  The queue has a reference to each owner.  Its own lifetime is that of
   the timer, which calls a bound method of it.

   A queue belongs to the thread of its loop.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "structmember.h"
#include "scopes.h"

/* A deadline that was moved to later stays where it was until it is the first.
   So its key here may be that of an earlier time.  */
typedef struct {
    double when;
    uint64_t order;
    Deadline *deadline;     /* with a reference to its owner */
} Entry;

typedef struct DeadlinesObject {
    PyObject_HEAD
    PyObject *loop;         /* strong */
    PyObject *timer;        /* strong; NULL if there is none */
    double due;             /* when the timer fires */
    Entry *heap;
    Py_ssize_t size;
    Py_ssize_t allocated;
    uint64_t order;
    char is_shared;         /* the loop has it */
} DeadlinesObject;

/* --- The heap --- */

static inline int
is_before(const Entry *a, const Entry *b)
{
    return a->when < b->when || (a->when == b->when && a->order < b->order);
}

static inline void
put(DeadlinesObject *self, Py_ssize_t index, Entry entry)
{
    self->heap[index] = entry;
    entry.deadline->index = index;
}

/* Put an entry where it belongs, beginning from a free place.  */
static void
place(DeadlinesObject *self, Py_ssize_t index, Entry entry)
{
    Entry *heap = self->heap;
    while (index > 0 && is_before(&entry, &heap[(index - 1) / 2])) {
        put(self, index, heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (;;) {
        Py_ssize_t child = 2 * index + 1;
        if (child + 1 < self->size
            && is_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (child >= self->size || !is_before(&heap[child], &entry)) {
            break;
        }
        put(self, index, heap[child]);
        index = child;
    }
    put(self, index, entry);
}

static void
place_deadline(DeadlinesObject *self, Py_ssize_t index, Deadline *deadline)
{
    place(self, index,
          (Entry){deadline->when, deadline->order, deadline});
}

static inline void
set_key(DeadlinesObject *self, Deadline *deadline, double when)
{
    deadline->when = when;
    deadline->order = ++self->order;
}

static int
add(DeadlinesObject *self, Deadline *deadline, double when)
{
    if (self->size == self->allocated) {
        Py_ssize_t allocated = self->allocated * 2 + 8;
        Entry *heap = self->heap;
        PyMem_Resize(heap, Entry, allocated);
        if (heap == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->heap = heap;
        self->allocated = allocated;
    }
    deadline->queue = self;
    Py_INCREF(deadline->owner);
    self->size++;
    set_key(self, deadline, when);
    place_deadline(self, self->size - 1, deadline);
    return 0;
}

/* Return the reference to the owner.  */
static PyObject *
take(Deadline *deadline)
{
    DeadlinesObject *self = deadline->queue;
    deadline->queue = NULL;
    self->size--;
    if (deadline->index < self->size) {
        place(self, deadline->index, self->heap[self->size]);
    }
    if (self->allocated > 64 && self->size < self->allocated / 4) {
        Entry *heap = self->heap;
        PyMem_Resize(heap, Entry, self->allocated / 2);
        if (heap != NULL) {
            self->heap = heap;
            self->allocated /= 2;
        }
    }
    return deadline->owner;
}

/* --- The timer --- */

int
asyncio_cancel_timer(PyObject **timer, PyObject *cancel)
{
    if (*timer == NULL) {
        return 0;
    }
    PyObject *handle = *timer;
    *timer = NULL;
    int res = call_and_forget(PyObject_CallMethodNoArgs(handle, cancel));
    Py_DECREF(handle);
    return res;
}

/* Call the loop in a context that keeps nothing alive.  */
static PyObject *
call_at(DeadlinesObject *self, ScopeState *state, double when)
{
    PyObject *timer = NULL;
    PyObject *callback = PyObject_GetAttr((PyObject *)self, state->expire);
    PyObject *time = PyFloat_FromDouble(when);
    PyObject *context = PyContext_New();
    if (callback != NULL && time != NULL && context != NULL
        && PyContext_Enter(context) == 0)
    {
        /* It is told its time: by then another timer can be the queue's.  */
        timer = PyObject_CallMethodObjArgs(self->loop, state->call_at, time,
                                           callback, time, NULL);
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(timer);
        }
    }
    Py_XDECREF(callback);
    Py_XDECREF(time);
    Py_XDECREF(context);
    return timer;
}

/* Have a timer for the first deadline, or for an earlier time.  */
static int
set_timer(DeadlinesObject *self, ScopeState *state)
{
    if (self->size == 0) {
        return 0;
    }
    double when = self->heap[0].when;
    if (self->timer != NULL && self->due <= when) {
        return 0;
    }
    PyObject *before = Py_XNewRef(self->timer);
    /* First, as the others still need the timer there is if this fails.  */
    PyObject *timer = call_at(self, state, when);
    if (timer == NULL) {
        Py_XDECREF(before);
        return -1;
    }
    self->due = when;
    Py_XSETREF(self->timer, timer);
    return asyncio_cancel_timer(&before, state->cancel);
}

static int
expire_until(DeadlinesObject *self, double due)
{
    int res = 0;
    while (res == 0 && self->size > 0 && self->heap[0].when <= due) {
        Deadline *deadline = self->heap[0].deadline;
        if (deadline->order != self->heap[0].order) {
            place_deadline(self, 0, deadline);
            continue;
        }
        PyObject *owner = take(deadline);
        res = deadline->expire(owner);
        Py_DECREF(owner);
    }
    return res;
}

static PyObject *
deadlines_expire(PyObject *op, PyObject *when)
{
    DeadlinesObject *self = (DeadlinesObject *)op;
    ScopeState *state = asyncio_scope_state(PyType_GetModule(Py_TYPE(op)));
    double now, due = PyFloat_AsDouble(when);
    if (due == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (self->loop == NULL) {
        /* It is garbage, and so is the timer.  */
        Py_RETURN_NONE;
    }
    Py_INCREF(self);
    Py_CLEAR(self->timer);
    int res = asyncio_loop_time(state, self->loop, &now);
    if (res == 0) {
        res = expire_until(self, now > due ? now : due);
    }
    /* If one has raised, the others are for another pass.  */
    KeptError error = {0};
    keep_error(&error, res);
    keep_error(&error, set_timer(self, state));
    Py_DECREF(self);
    return none_or_null(raise_kept(&error));
}

/* --- The queue of a loop --- */

/* Return a strong reference, or NULL without an exception if the loop has
   none.  */
static PyObject *
find(ScopeState *state, PyObject *loop)
{
    PyObject *ref;
    if (PyObject_GetOptionalAttr(loop, state->scope_deadlines, &ref) <= 0) {
        return NULL;
    }
    PyObject *found = NULL;
    if (PyWeakref_Check(ref)
        && PyWeakref_GetRef(ref, &found) > 0
        && !Py_IS_TYPE(found, state->deadlines_type)) {
        Py_CLEAR(found);
    }
    Py_DECREF(ref);
    return found;
}

static PyObject *
make(ScopeState *state, PyObject *loop)
{
    DeadlinesObject *self = (DeadlinesObject *)
        state->deadlines_type->tp_alloc(state->deadlines_type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->loop = Py_NewRef(loop);
    PyObject *ref = PyWeakref_NewRef((PyObject *)self, NULL);
    if (ref == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    self->is_shared = PyObject_SetAttr(loop, state->scope_deadlines,
                                       ref) == 0;
    Py_DECREF(ref);
    if (!self->is_shared) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)
            && !PyErr_ExceptionMatches(PyExc_TypeError)) {
            Py_DECREF(self);
            return NULL;
        }
        PyErr_Clear();
    }
    return (PyObject *)self;
}

PyObject *
asyncio_deadlines_of(PyObject *module, PyObject *loop)
{
    ScopeState *state = asyncio_scope_state(module);
    PyObject *found = find(state, loop);
    if (found != NULL || PyErr_Occurred()) {
        return found;
    }
    return make(state, loop);
}

/* Return the queue in which it is to be, as a strong reference.  */
static DeadlinesObject *
queue_for(PyObject *module, PyObject *loop, Deadline *deadline, double when)
{
    DeadlinesObject *queue = deadline->queue;
    if (queue != NULL) {
        Py_INCREF(queue);
        set_key(queue, deadline, when);
        if (when < queue->heap[deadline->index].when) {
            place_deadline(queue, deadline->index, deadline);
        }
        return queue;
    }
    queue = (DeadlinesObject *)asyncio_deadlines_of(module, loop);
    if (deadline->queue != NULL) {
        /* The loop's attributes run code, which has armed it.  */
        Py_XDECREF(queue);
        return queue_for(module, loop, deadline, when);
    }
    if (queue != NULL && add(queue, deadline, when) < 0) {
        Py_CLEAR(queue);
    }
    return queue;
}

int
asyncio_deadline_arm(PyObject *module, PyObject *loop, Deadline *deadline,
                     double when)
{
    DeadlinesObject *queue = queue_for(module, loop, deadline, when);
    if (queue == NULL) {
        return -1;
    }
    int res = set_timer(queue, asyncio_scope_state(module));
    Py_DECREF(queue);
    return res;
}

int
asyncio_deadline_stop(Deadline *deadline)
{
    DeadlinesObject *queue = deadline->queue;
    PyObject *owner = take(deadline);
    int res = 0;
    if (!queue->is_shared && queue->size == 0) {
        /* Nobody else can use what is left of the timer.  */
        Py_INCREF(queue);
        res = asyncio_cancel_timer(&queue->timer, asyncio_scope_state(
            PyType_GetModule(Py_TYPE(queue)))->cancel);
        Py_DECREF(queue);
    }
    Py_DECREF(owner);
    return res;
}

/* --- The type --- */

static Py_ssize_t
deadlines_length(PyObject *op)
{
    return ((DeadlinesObject *)op)->size;
}

static int
deadlines_traverse(PyObject *op, visitproc visit, void *arg)
{
    DeadlinesObject *self = (DeadlinesObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->timer);
    for (Py_ssize_t i = 0; i < self->size; i++) {
        Py_VISIT(self->heap[i].deadline->owner);
    }
    return 0;
}

static int
deadlines_clear(PyObject *op)
{
    DeadlinesObject *self = (DeadlinesObject *)op;
    Py_CLEAR(self->loop);
    Py_CLEAR(self->timer);
    Entry *heap = self->heap;
    Py_ssize_t size = self->size;
    self->heap = NULL;
    self->size = self->allocated = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        heap[i].deadline->queue = NULL;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        Py_DECREF(heap[i].deadline->owner);
    }
    PyMem_Free(heap);
    return 0;
}

static void
deadlines_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    deadlines_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef deadlines_methods[] = {
    {"_expire", deadlines_expire, METH_O, NULL},
    {NULL, NULL}
};

static PyMemberDef deadlines_members[] = {
    {"_timer", _Py_T_OBJECT, offsetof(DeadlinesObject, timer), Py_READONLY,
     NULL},
    {NULL}
};

static PyType_Slot deadlines_slots[] = {
    {Py_tp_doc, (void *)"The armed deadlines of a loop, on one timer."},
    {Py_tp_dealloc, deadlines_dealloc},
    {Py_tp_traverse, deadlines_traverse},
    {Py_tp_clear, deadlines_clear},
    {Py_tp_methods, deadlines_methods},
    {Py_tp_members, deadlines_members},
    {Py_sq_length, deadlines_length},
    {0, NULL},
};

PyType_Spec asyncio_deadlines_spec = {
    .name = "asyncio.cancellation.Deadlines",
    .basicsize = sizeof(DeadlinesObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
              | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MANAGED_WEAKREF
              | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = deadlines_slots,
};
