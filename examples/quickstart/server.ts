import { createServer } from 'node:http';
import { createHub, unauthorized } from 'holdfast/server';
import { chat } from './contract.ts';

const server = createServer();
const hub = createHub({
  contract: chat,
  authenticate: ({ auth }) => {
    // Yours: look the token up. `auth` is whatever the client's `auth` returned.
    const token = typeof auth === 'object' && auth !== null && 'token' in auth ? auth.token : null;
    if (typeof token !== 'string') throw unauthorized('Sign in first.');
    const [user = ''] = token.split('.');
    return { user, expiresIn: 3_600_000 };
  },
  authorizeRoom: ({ user, room }) => room.startsWith('conversation:') && user !== 'mallory',
  handlers: {
    'message:send': ({ text }, context) => {
      const id = context.requestId;
      // Published together with the response, or not at all.
      context.publish(context.room, 'message:received', { id, from: context.user, text });
      return { id };
    },
  },
});
hub.attachWebSocket(server, { path: '/realtime' });

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : address;
  console.log(`ws://127.0.0.1:${port}/realtime`);
});
