/** Need is discovered: the first request for an unknown host asks the control plane for it and waits. Implemented by sidecar/. */
export interface Discovery {
  /** Calls back once: `ready` when a new snapshot may hold the host, else why not. May call back at once. */
  discover(
    host: string,
    done: (answer: 'ready' | 'unknown-service' | 'no-configuration' | 'discovery-timeout' | 'discovery-full') => void,
  ): void;
  /** A host was used: keeps its subscription alive. Called at most once a second and host. */
}
