/** The version of this software, as sidecars and control planes tell each other and people. A test holds it to package.json. */
export const version = '0.1.0';
