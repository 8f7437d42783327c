import { useRealtimeQuota } from "@cloudphone/bridge-client/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";

export function QuotaPanel() {
  const queries = useQueryClient();
  const { data } = useQuery({
    queryKey: ["quota"],
    queryFn: async () => (await fetch("/api/quota")).json(),
    staleTime: Number.POSITIVE_INFINITY, // No polling: the bridge says when it is old.
  });
  const { live } = useRealtimeQuota({
    refresh: () => void queries.invalidateQueries({ queryKey: ["quota"] }),
  });
  return <p>{data ? `${data.used} devices${live ? "" : " (not live)"}` : "…"}</p>;
}
