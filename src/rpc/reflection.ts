// Reflection: lets grpcurl and the like discover the services. Descriptors are read from the package's own proto files.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { protoPath as healthProto } from 'grpc-health-check';

const services = ['grm/v1/reward.proto', 'grm/v1/cluster.proto'];

export function reflection(): ReflectionService {
  const root = protoRoot();
  const definition: PackageDefinition = {
    ...loadSync(services, { includeDirs: [root] }),
    ...loadSync(healthProto, { includeDirs: [dirname(dirname(dirname(healthProto)))] }),
  };
  return new ReflectionService(definition);
}

/** The proto folder stands at the package's root, above src/ or dist/ as the case may be. */
function protoRoot(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'proto', services[0]!))) return join(folder, 'proto');
    if (folder === dirname(folder)) throw new Error(`rpc: no proto folder above ${import.meta.dirname}`);
  }
}
