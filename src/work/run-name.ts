// Run names: what a task says of the run that asked for it. A cancel that names a run ends all tasks of it, one that names a task ends that
// task and its hedges.
//
//   "c-k3j-7"       a run of a request
//   "c-k3j-7/12"    its shard 12
//   "c-k3j-7/12+"   the same shard asked for once more, elsewhere, because it is late (a hedge); one more "+" for every worker that passed it on
//
// Tasks of older coordinators, and meta tasks, name their run alone.

const shardMark = '/';
const hedgeMark = '+';

export function taskName(run: string, shard: number): string {
  return `${run}${shardMark}${shard}`;
}

/** Of a task its hedge, of a hedge the same one passed on. */
export function hedgeName(task: string): string {
  return `${task}${hedgeMark}`;
}

export function isHedge(task: string): boolean {
  return task.endsWith(hedgeMark);
}

/** The task that a hedge repeats; any other task is its own. */
export function originalOf(task: string): string {
  const at = isHedge(task) ? task.indexOf(hedgeMark) : -1;
  return at < 0 ? task : task.slice(0, at);
}

/** Workers that a hedge has been passed on by. */
export function passesOf(task: string): number {
  return Math.max(0, task.length - originalOf(task).length - hedgeMark.length);
}

/** Names of whose cancel ends a task: its run's, its original's. */
export function endedBy(task: string): readonly string[] {
  const at = task.indexOf(shardMark);
  return at < 0 ? [task] : [task.slice(0, at), originalOf(task)];
}
