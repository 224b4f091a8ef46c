/* CRC-32 bitwise and by table, insertion sort + quicksort, string hash with branches, integer division; result in a0 */
typedef unsigned u32; typedef unsigned char u8;
static u32 table[256]; static u32 arr[512]; static u8 buf[2048];
static u32 seed;
static u32 rnd(void){ seed ^= seed<<13; seed ^= seed>>17; seed ^= seed<<5; return seed; }
static void mk(void){ for(u32 i=0;i<256;i++){u32 c=i;for(int k=0;k<8;k++)c=c&1?0xedb88320u^(c>>1):c>>1;table[i]=c;} }
__attribute__((noinline)) static u32 crc(const u8*p,u32 n){u32 c=~0u;while(n--)c=table[(c^*p++)&255]^(c>>8);return ~c;}
__attribute__((noinline)) static void qs(u32*a,int lo,int hi){ while(lo<hi){u32 p=a[(lo+hi)/2];int i=lo,j=hi;while(i<=j){while(a[i]<p)i++;while(a[j]>p)j--;if(i<=j){u32 t=a[i];a[i]=a[j];a[j]=t;i++;j--;}}
 if(j-lo<hi-i){qs(a,lo,j);lo=i;}else{qs(a,i,hi);hi=j;}}}
__attribute__((noinline)) static u32 collatz(u32 n){u32 s=0;while(n!=1){n=n&1?3*n+1:n/2;s++;}return s;}
__attribute__((noinline)) static u32 sw(u32 x){switch(x&7){case 0:return x+1;case 1:return x*3;case 2:return x^0x55;case 3:return x/7;case 4:return x%11;case 5:return x<<3;case 6:return x>>2;default:return ~x;}}
u32 run(u32 rounds){ u32 acc=0; seed=12345; mk(); 
 for(u32 r=0;r<rounds;r++){ for(int i=0;i<2048;i++)buf[i]=rnd(); acc^=crc(buf,2048); for(int i=0;i<512;i++)arr[i]=rnd(); qs(arr,0,511); acc+=arr[r&511];
  for(u32 i=1;i<40;i++)acc+=collatz(i+r%100); for(int i=0;i<1000;i++)acc=sw(acc+i);} return acc; }
